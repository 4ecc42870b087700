"""text-generation in the Hugging Face form: its parameters as a wish, its answer whole or as server-sent events.

Source: huggingface.js, packages/tasks/src/tasks/text-generation; what a stream sends, text-generation-inference.
"""

import contextlib
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any, Literal

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from transformers import PreTrainedTokenizerBase

from adapterhub.errors import AdapterHubError
from adapterhub.runtime.generation.row import STOP, Generated, TokenPiece
from adapterhub.runtime.generation.settings import GenerationSettings
from adapterhub.server.asking import answered, note, version_headers
from adapterhub.server.errors import BadRequest, error_event
from adapterhub.server.replies import json_reply
from adapterhub.server.service import Caller
from adapterhub.server.writing import Wish, Writing, WritingService


class WriteParameters(BaseModel):
    """What the Hub's clients may send; what is not done here is refused unless it changes nothing."""

    model_config = ConfigDict(extra="forbid")

    max_new_tokens: int = Field(20, ge=1)
    do_sample: bool | None = None
    temperature: float | None = Field(None, ge=0, le=100)
    top_k: int | None = Field(None, ge=0)
    top_p: float | None = Field(None, gt=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0)
    seed: int | None = Field(None, ge=0, lt=2**62)
    stop: list[str] | None = Field(None, max_length=16)
    return_full_text: bool | None = None
    details: bool | None = None
    best_of: Literal[1] | None = None
    stream: bool | None = None
    decoder_input_details: Literal[False] | None = None
    watermark: Literal[False] | None = None

    def settings(self) -> GenerationSettings:
        """Return how the row writes: it draws where that is asked for, or a temperature or such is given."""
        drawn = any(value is not None for value in (self.temperature, self.top_k, self.top_p))
        is_drawn = self.do_sample if self.do_sample is not None else drawn
        temperature = (1.0 if self.temperature is None else self.temperature) if is_drawn else 0.0
        stops = tuple(self.stop or ())
        if not all(stops):
            raise BadRequest("stop holds an empty text.", field="parameters.stop", hint="Leave it out.")
        return GenerationSettings(max_new_tokens=self.max_new_tokens, temperature=temperature, top_k=self.top_k or 0,
                                  top_p=self.top_p or 1.0, repetition_penalty=self.repetition_penalty,
                                  seed=secrets.randbits(31) if self.seed is None else self.seed, stop_strings=stops,
                                  n_likeliest=0)


def read_parameters(given: dict[str, Any]) -> WriteParameters:
    """Return the parameters. Raises BadRequest with the field."""
    try:
        return WriteParameters.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(["parameters", *map(str, first["loc"])])
        raise BadRequest(f"{field}: {first['msg']}.", field=field, hint="See /docs.") from error


async def write(request: Request, service: WritingService, reference: str | None, prompt: Any,
                parameters: WriteParameters, caller: Caller) -> Response:
    """Answer one prompt. Raises what is wrong with it."""
    if not isinstance(prompt, str):
        raise BadRequest("inputs is no text.", field="inputs", hint="text-generation takes one text.")
    wish = Wish(reference, prompt, parameters.settings())
    note(request, n_rows=1, stream=bool(parameters.stream))
    stack = contextlib.AsyncExitStack()
    tokenizer = service.generator.base.tokenizer
    try:
        writing = await answered(request, caller, stack.enter_async_context(service.writing(wish, caller)),
                                 limit_s=2 * caller.writes_s)
        headers = version_headers([writing.version]) | {"X-Answer-Id": writing.id}
        if parameters.stream:
            return StreamingResponse(_events(stack, writing, parameters, tokenizer, request.url.path),
                                     media_type="text/event-stream", headers=headers)
        pieces = await answered(request, caller, _pieces_of(writing), limit_s=2 * caller.writes_s)
        body = _whole(writing, pieces, parameters, tokenizer)
    except BaseException:
        await stack.aclose()
        raise
    await stack.aclose()
    return json_reply([body], headers=headers)


async def _pieces_of(writing: Writing) -> list[TokenPiece]:
    found: list[TokenPiece] = []
    while pieces := await writing.drafts[0].more():
        found += pieces
    return found


def _whole(writing: Writing, pieces: list[TokenPiece], parameters: WriteParameters,
           tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    outcome = _outcome(writing)
    body: dict[str, Any] = {"generated_text": _text(writing, outcome, parameters)}
    if parameters.details:
        body["details"] = {**_details(outcome, parameters, tokenizer), "prefill": [],
                           "tokens": [_token(piece, tokenizer) for piece in pieces]}
    return body


async def _events(stack: contextlib.AsyncExitStack, writing: Writing, parameters: WriteParameters,
                  tokenizer: PreTrainedTokenizerBase, path: str) -> AsyncIterator[str]:
    """Yield an event for each token; leaving it, also where the client hangs up, ends the row."""
    async with stack:
        draft, n_told, is_told = writing.drafts[0], 0, False
        try:
            while pieces := await draft.more():
                for i, piece in enumerate(pieces):
                    is_told = draft.outcome is not None and i == len(pieces) - 1
                    n_told += 1
                    yield _event(writing, n_told, _token(piece, tokenizer), parameters, tokenizer, is_last=is_told)
            if not is_told:  # ended between two tokens, because its time was over
                nothing = {"id": 0, "text": "", "special": True, "logprob": 0.0}
                yield _event(writing, n_told + 1, nothing, parameters, tokenizer, is_last=True)
        except AdapterHubError as error:
            yield error_event(error, path)


def _event(writing: Writing, i: int, token: dict[str, Any], parameters: WriteParameters,
           tokenizer: PreTrainedTokenizerBase, *, is_last: bool) -> str:
    body: dict[str, Any] = {"index": i, "token": token, "generated_text": None, "details": None}
    if is_last:
        outcome = _outcome(writing)
        body["generated_text"] = _text(writing, outcome, parameters)
        body["details"] = {**_details(outcome, parameters, tokenizer), "input_length": outcome.n_prompt_tokens}
    return f"data:{json.dumps(body, ensure_ascii=False)}\n\n"


def _outcome(writing: Writing) -> Generated:
    outcome = writing.drafts[0].outcome
    assert isinstance(outcome, Generated), "an error was raised"
    return outcome


def _text(writing: Writing, outcome: Generated, parameters: WriteParameters) -> str:
    return (writing.wish.prompt if parameters.return_full_text else "") + outcome.text


def _details(outcome: Generated, parameters: WriteParameters, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Return how it ended: by the base's own last token, by a text to stop at, or at its length."""
    reason = "length"
    if outcome.finish_reason == STOP:
        reason = "eos_token" if outcome.tokens[-1] in tokenizer.all_special_ids else "stop_sequence"
    return {"finish_reason": reason, "generated_tokens": len(outcome.tokens), "seed": parameters.seed}


def _token(piece: TokenPiece, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    return {"id": piece.token, "text": piece.text, "special": piece.token in tokenizer.all_special_ids,
            "logprob": piece.likelihood.logprob if piece.likelihood else 0.0}
