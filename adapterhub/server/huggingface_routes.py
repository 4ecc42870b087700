"""`POST /models/{reference}`: the Hugging Face inference form, for `InferenceClient(model=url)` as it is."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from adapterhub.server.asking import answered, caller_with, note, version_headers
from adapterhub.server.house import House
from adapterhub.server.huggingface_forms import in_order_asked, rows_of, told
from adapterhub.server.replies import HubError, json_reply, refusals, streamed
from adapterhub.server.service import Caller
from adapterhub.server.text_generation_form import read_parameters, write


class HubRequest(BaseModel):
    """`inputs`, in the form of the adapter's task, and its parameters, also outside `parameters`."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [{"inputs": "where is my card?"}]})

    inputs: str | dict[str, Any] | Annotated[list[str | dict[str, Any]], Field(min_length=1)]
    parameters: dict[str, Any] | None = None
    options: dict[str, Any] | None = Field(None, description="Taken, and without meaning here.")

    def all_parameters(self) -> dict[str, Any]:
        """Return the parameters; the Hub's client sends those of some tasks beside `inputs`."""
        return {**(self.model_extra or {}), **(self.parameters or {})}


def huggingface_routes(house: House) -> APIRouter:
    """Return the route."""
    router = APIRouter(tags=["hugging face"])

    @router.post("/models/{reference:path}", responses={**streamed(), **refusals(HubError)},
                 response_class=Response, summary="Answer in the Hugging Face inference form")
    async def infer(request: Request, reference: Annotated[str, Path(examples=["support/banking77"])],
                    asked: HubRequest,
                    caller: Annotated[Caller, caller_with("predict")]) -> Response:
        """Which task it is, the adapter says. Version and digest stand in the headers.

        `inputs` is a text; for sentence-similarity `{"source_sentence": "...", "sentences": ["...", "..."]}`, for
        question-answering `{"question": "...", "context": "..."}`; or a list of these, of which all are answered, or
        the first that cannot be says why.
        """
        parameters, named = asked.all_parameters(), house.reference_of(reference)
        if house.writing is not None:
            return await write(request, house.writing, named, asked.inputs, read_parameters(parameters), caller)
        rows, is_list = rows_of(asked.inputs)
        service = house.require_rows()
        note(request, n_rows=len(rows))
        outcomes = await answered(request, caller, service.answer(
            [(named, row) for row in rows], caller,
            truncate=bool(parameters.get("truncate") or parameters.get("truncation"))))
        answers = [replace(outcome.required(), result=dict(in_order_asked(row, outcome.required().result)))
                   for row, outcome in zip(rows, outcomes, strict=True)]
        return json_reply(told(answers, parameters, is_list=is_list),
                          headers=version_headers(outcome.version for outcome in outcomes)
                          | {"X-Answer-Id": ", ".join(outcome.id for outcome in outcomes[:16])})
    return router
