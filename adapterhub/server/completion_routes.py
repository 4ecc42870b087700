"""`/v1/completions` and `/v1/chat/completions`: rows that write, whole or as server-sent events."""

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from adapterhub.errors import AdapterHubError
from adapterhub.runtime.generation.row import Generated, TokenPiece
from adapterhub.server.answered import choice_id
from adapterhub.server.asking import answered, caller_with, note, version_headers
from adapterhub.server.completion_answers import ChatCompletion, Completion
from adapterhub.server.completion_forms import ChatRequest, CompletionRequest, Form, finish_reason, usage
from adapterhub.server.errors import InternalFault, error_event
from adapterhub.server.house import House
from adapterhub.server.replies import OpenAIError, json_reply, refusals, streamed
from adapterhub.server.service import Caller
from adapterhub.server.writer import Draft
from adapterhub.server.writing import Wish, Writing, WritingService, text_of

_USUAL_TOKENS = 16
"""What OpenAI's completions write where nothing is said; a chat goes on to its end."""


def completion_routes(house: House) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["openai"], responses=refusals(OpenAIError))

    @router.post("/v1/completions", response_class=Response, summary="Go on with a prompt",
                 responses=streamed(Completion))
    async def complete(request: Request, asked: CompletionRequest,
                       caller: Annotated[Caller, caller_with("predict")]) -> Response:
        """`model` is the reference of an adapter for text-generation, or the base's own id."""
        service = house.require_writing()
        settings = asked.settings(asked.max_tokens or _USUAL_TOKENS, asked.logprobs)
        wish = Wish(house.reference_of(asked.model), asked.text(), settings, asked.n_choices)
        form = Form(is_chat=False, tokenizer=service.generator.base.tokenizer)
        return await _reply(request, service, _Asked(wish, form, asked.model, bool(asked.stream), asked.has_usage),
                            caller)

    @router.post("/v1/chat/completions", response_class=Response, summary="Answer a chat",
                 responses=streamed(ChatCompletion))
    async def chat(request: Request, asked: ChatRequest,
                   caller: Annotated[Caller, caller_with("predict")]) -> Response:
        """The messages go through the base's own chat template; a base without one refuses them."""
        service = house.require_writing()
        messages = [message.to_dict() for message in asked.messages]
        n_most = asked.max_completion_tokens or asked.max_tokens or await service.n_tokens_left(messages)
        wish = Wish(house.reference_of(asked.model), messages, asked.settings(n_most, asked.n_likeliest),
                    asked.n_choices)
        form = Form(is_chat=True, tokenizer=service.generator.base.tokenizer)
        return await _reply(request, service, _Asked(wish, form, asked.model, bool(asked.stream), asked.has_usage),
                            caller)
    return router


@dataclass(frozen=True, slots=True)
class _Asked:
    """A wish with how its answer is told."""

    wish: Wish
    form: Form
    model: str
    is_stream: bool
    has_usage: bool


async def _reply(request: Request, service: WritingService, asked: _Asked, caller: Caller) -> Response:
    note(request, n_rows=asked.wish.n_choices, stream=asked.is_stream)
    if not asked.is_stream:
        return await answered(request, caller, _whole(service, asked, caller), limit_s=2 * caller.writes_s)
    # The first token is waited for here, so that what is wrong with the row is still a status of its own.
    stack = contextlib.AsyncExitStack()
    try:
        writing = await answered(request, caller, stack.enter_async_context(service.writing(asked.wish, caller)),
                                 limit_s=2 * caller.writes_s)
    except BaseException:
        await stack.aclose()
        raise
    headers = version_headers([writing.version]) | {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_events(stack, writing, asked, request.url.path), media_type="text/event-stream",
                             headers=headers)


async def _whole(service: WritingService, asked: _Asked, caller: Caller) -> Response:
    """Write every choice to its end and answer with all of them."""
    async with service.writing(asked.wish, caller) as writing:
        pieces = [await _all_pieces(draft) for draft in writing.drafts]
        outcomes = await writing.finished()
    choices = [asked.form.choice(i, choice_id(writing.id, i, len(outcomes)), outcome.text, own, finish_reason(outcome))
               for i, (outcome, own) in enumerate(zip(outcomes, pieces, strict=True))]
    body = {**_envelope(writing, asked, is_chunk=False), "choices": choices, "usage": usage(outcomes)}
    return json_reply(body, headers=version_headers([writing.version]))


async def _all_pieces(draft: Draft) -> list[TokenPiece]:
    found: list[TokenPiece] = []
    while pieces := await draft.more():
        found += pieces
    return found


async def _events(stack: contextlib.AsyncExitStack, writing: Writing, asked: _Asked, path: str) -> AsyncIterator[str]:
    """Yield the stream's events; leaving it, also where the client hangs up, ends every row."""
    async with stack:
        envelope = _envelope(writing, asked, is_chunk=True)
        extra = {"usage": None} if asked.has_usage else {}
        outcomes: list[Generated] = []
        try:
            for i, draft in enumerate(writing.drafts):  # choices one after the other: they were written side by side
                if opening := asked.form.first_chunk(i):
                    yield _event({**envelope, "choices": [opening], **extra})
                while pieces := await draft.more():
                    if (text := text_of(pieces)) or pieces[0].likelihood is not None:
                        yield _event({**envelope, "choices": [asked.form.chunk(i, pieces, text)], **extra})
                assert isinstance(draft.outcome, Generated), "an error was raised"
                outcomes.append(draft.outcome)
                own_id = choice_id(writing.id, i, len(writing.drafts))
                closing = asked.form.last_chunk(i, own_id, finish_reason(draft.outcome))
                yield _event({**envelope, "choices": [closing], **extra})
        except AdapterHubError as error:
            yield error_event(error, path)
            return
        except Exception:
            yield error_event(InternalFault("The server failed at this row.", hint="Ask again."), path)
            raise
        if asked.has_usage:
            yield _event({**envelope, "choices": [], "usage": usage(outcomes)})
        yield "data: [DONE]\n\n"


def _envelope(writing: Writing, asked: _Asked, *, is_chunk: bool) -> dict[str, Any]:
    version = writing.version
    return {**asked.form.envelope(writing.id, asked.model, version.digest if version else None, is_chunk=is_chunk),
            "version": version.reference if version else None, "digest": version.digest if version else None}


def _event(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"
