"""`POST /v1/predict`: rows that each name their adapter, or several, of any tasks, answered together and in order."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from adapterhub.server.asking import answered, caller_with, note, version_headers
from adapterhub.server.errors import RETRYABLE, Fault
from adapterhub.server.house import House
from adapterhub.server.replies import json_reply, refusals
from adapterhub.server.service import Caller, RowOutcome

Name = Annotated[str, Field(min_length=1, max_length=300)]
_INPUTS = ("text", "text_pair", "tokens", "query", "answer", "candidates", "question", "context")


class AskedRow(BaseModel):
    """One row, with the fields that its adapter's task reads."""

    model_config = ConfigDict(extra="forbid", strict=True)

    adapter: Name | None = Field(None, description="namespace/name, with @3, @production or @sha256:... behind it; "
                                 "left out, the bare base's embedding.", examples=["support/intents@production"])
    adapters: list[Name] | None = Field(None, min_length=1, max_length=512, description="Several adapters for this "
                                        "one row; `adapter`, where it is given too, comes first.")
    text: str | None = Field(None, examples=["where is my parcel?"])
    text_pair: str | None = None
    tokens: list[str] | None = Field(None, description="Words, where the text is split already.")
    query: str | None = None
    answer: str | None = None
    candidates: list[str] | None = None
    question: str | None = None
    context: str | None = None

    def named(self) -> list[str | None]:
        """Return the adapters that shall answer it."""
        if self.adapters is None:
            return [self.adapter]
        return [*([] if self.adapter is None else [self.adapter]), *self.adapters]

    def fields(self) -> dict[str, Any]:
        """Return what the task reads."""
        return {name: value for name in _INPUTS if (value := getattr(self, name)) is not None}


class PredictRequest(BaseModel):
    """Rows to answer together."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"rows": [
        {"adapter": "support/banking77", "text": "the cash machine kept my card"},
        {"adapters": ["news/wnut17", "finance/sentfin"], "text": "Shares of Acme plunge in Oslo"}]}]})

    rows: list[AskedRow] = Field(min_length=1)
    truncate: bool = Field(False, description="Cut a text that is longer than the base reads, instead of refusing it.")


class RowFault(BaseModel):
    """Why one row, or a request, has no answer."""

    kind: str = Field(examples=["AdapterNotFound"])
    status: int = Field(examples=[404])
    message: str
    hint: str
    field: str | None = None


class AnsweredRowBody(BaseModel):
    """One answer, or one error, for one row and one adapter."""

    row: int = Field(description="Which row of the request, from 0.")
    adapter: str | None = Field(description="As the row names it.")
    id: str | None = Field(None, description="The answer's own id, for feedback.")
    version: str | None = Field(None, examples=["support/banking77@1"])
    digest: str | None = None
    task: str | None = None
    result: dict[str, Any] | None = None
    error: RowFault | None = None


class PredictAnswer(BaseModel):
    """Answers in the order of the rows, and within a row of its adapters."""

    answers: list[AnsweredRowBody]
    n_failed: int


def predict_routes(house: House) -> APIRouter:
    """Return the route."""
    router = APIRouter(tags=["predict"])

    @router.post("/v1/predict", response_model=PredictAnswer, responses=refusals(),
                 summary="Answer rows of any mixture of adapters and tasks")
    async def predict(request: Request, asked: PredictRequest,
                      caller: Annotated[Caller, caller_with("predict")]) -> Response:
        """Each row fails or is answered on its own; the status is 200 wherever the request itself can be read.

        Only where every row had to be refused because of load is the status theirs, 429 or 503.
        """
        service = house.require_rows()
        named = [row.named() for row in asked.rows]
        service.require_number(sum(map(len, named)))
        fields = [row.fields() for row in asked.rows]
        places = [(i, name, fields[i]) for i, names in enumerate(named) for name in names]
        note(request, n_rows=len(places))
        outcomes = await answered(request, caller, service.answer([(name, row) for _, name, row in places], caller,
                                                                  truncate=asked.truncate))
        faults = [Fault.of(outcome.error) for outcome in outcomes if outcome.error]
        note(request, n_failed=len(faults))
        body = {"answers": [_told(i, outcome) for (i, _, _), outcome in zip(places, outcomes, strict=True)],
                "n_failed": len(faults)}
        if len(faults) == len(outcomes) and {fault.status for fault in faults} <= RETRYABLE:
            raise next(outcome.error for outcome in outcomes if outcome.error)
        return json_reply(body, headers=version_headers(outcome.version for outcome in outcomes if outcome.answer))
    return router


def _told(i: int, outcome: RowOutcome) -> dict[str, Any]:
    if outcome.error is not None:
        return {"row": i, "adapter": outcome.reference, "error": Fault.of(outcome.error).to_dict()}
    answer, version = outcome.required(), outcome.version
    return {"row": i, "adapter": outcome.reference, "id": outcome.id,
            "version": version.reference if version else None, "digest": version.digest if version else None,
            "task": answer.task, "result": answer.result}
