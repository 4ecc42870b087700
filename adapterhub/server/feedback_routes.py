"""`POST /v1/feedback`: a rating, a true label or a correction for an answer, by the id that its caller was given."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from adapterhub.errors import StorageError
from adapterhub.feedback.records import Feedback, KeptAnswer, is_same_label, now_ms
from adapterhub.server.asking import answered, caller_with, note
from adapterhub.server.errors import Forbidden, Unavailable, UnknownAnswer
from adapterhub.server.house import House
from adapterhub.server.judging import KnownLabels, label_for, require_correction
from adapterhub.server.keeper import Keeper
from adapterhub.server.replies import OwnError, refusals
from adapterhub.server.service import Caller

AnswerId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,80}$", examples=["ans_5f3759df9e3779b97f4a7c15"])]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=300)]


class FeedbackRequest(BaseModel):
    """What is to be said of one answer; at least one of rating, label and correction."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [
        {"id": "ans_5f3759df9e3779b97f4a7c15", "rating": 1.0},
        {"id": "ans_5f3759df9e3779b97f4a7c15", "label": "card_arrival"},
        {"id": "ans_5f3759df9e3779b97f4a7c15", "correction": {"answers": ["within two days"]}}],
        "anyOf": [{"required": [name]} for name in ("rating", "label", "correction")]})

    id: AnswerId = Field(description="The answer's own id, as the answer or X-Answer-Id told it. Of several choices "
                         "each has its own.")
    rating: Share | None = Field(None, description="From 0, of no use, to 1, right.")
    label: Name | list[Name] | Number | None = Field(
        None, description="The true label, one of the adapter's own; for several labels a list, for a regression a "
        "number.")
    correction: dict[str, Any] | None = Field(
        None, description="Fields of the training row that would have been right, for instance `answers`, `tokens` "
        "with `tags`, `completion`. Only where the server keeps texts.")

    @model_validator(mode="after")
    def _says_something(self) -> "FeedbackRequest":
        if not self.kinds:
            raise ValueError("give at least one of rating, label and correction")
        return self

    @property
    def kinds(self) -> list[str]:
        """What is said."""
        return [name for name in ("rating", "label", "correction") if getattr(self, name) is not None]


class FeedbackBody(BaseModel):
    """That it is kept: it was written and will survive the server."""

    id: str
    version: str | None = Field(description="The version that gave the answer; null: the bare base.")
    digest: str | None
    is_new: bool = Field(description="False where the same was said before; nothing is counted twice.")


_REFUSALS: dict[int | str, dict[str, Any]] = {
    404: {"model": OwnError, "description": "No answer has this id, or it is past its time."},
    409: {"model": OwnError, "description": "This server keeps no feedback, or no texts."},
    422: {"model": OwnError, "description": "The label or the correction does not go with the answer."},
}


def feedback_routes(house: House) -> APIRouter:
    """Return the route."""
    router = APIRouter(tags=["feedback"], responses=refusals() | _REFUSALS)
    labels = KnownLabels(house.pinned)

    @router.post("/v1/feedback", summary="Say how good an answer was, or what would have been right")
    async def give_feedback(request: Request, asked: FeedbackRequest,
                            caller: Annotated[Caller, caller_with("feedback")]) -> FeedbackBody:
        """Answered once it is durable. Saying the same again changes nothing; saying something else replaces it."""
        keeper = house.require_keeper()
        return await answered(request, caller, _give(request, keeper, labels, asked, caller, house))
    return router


async def _give(request: Request, keeper: Keeper, labels: KnownLabels, asked: FeedbackRequest, caller: Caller,
                house: House) -> FeedbackBody:
    answer = await _answer_of(keeper, asked.id, caller)
    note(request, version=answer.version, kinds=asked.kinds)
    label = None
    if asked.label is not None:
        label = label_for(answer, asked.label, await labels.of(answer) if answer.digest else ())
    if asked.correction is not None:
        require_correction(answer, asked.correction, keeps_texts=keeper.keeps_texts)
    said = Feedback(answer_id=answer.id, holder=caller.holder.id, at_ms=now_ms(), rating=asked.rating, label=label,
                    correction=asked.correction)
    try:
        is_new = await keeper.give(said)
    except StorageError as error:
        raise Unavailable("Feedback cannot be kept just now.", hint="Send it again in a moment.") from error
    if is_new:
        is_right = None if label is None or isinstance(label, float) else is_same_label(label, answer.label)
        house.metrics.feedback(answer.adapter, asked.kinds, asked.rating, is_right)
    return FeedbackBody(id=answer.id, version=answer.version, digest=answer.digest, is_new=is_new)


async def _answer_of(keeper: Keeper, answer_id: str, caller: Caller) -> KeptAnswer:
    """Return the answer that is meant. Raises UnknownAnswer, Forbidden for another namespace, Unavailable."""
    try:
        answer = await keeper.answer_of(answer_id)
    except StorageError as error:
        raise Unavailable("Answers cannot be looked up just now.", hint="Send it again in a moment.") from error
    if answer is None:
        raise UnknownAnswer(f"No answer has the id {answer_id!r}.",
                            hint="Send the id of an answer; it may be past its time.")
    if answer.adapter is not None and not caller.holder.sees(answer.adapter.partition("/")[0]):
        raise Forbidden("This token has no rights in the namespace of that answer's adapter.",
                        hint="Ask for a token with that namespace.")
    return answer
