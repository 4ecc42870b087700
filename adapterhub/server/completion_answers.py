"""What `/v1/completions` and `/v1/chat/completions` answer, as the OpenAPI page states it."""

from typing import Any, Literal

from pydantic import BaseModel


class Usage(BaseModel):
    """Tokens read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class _Answer(BaseModel):
    """What stands around choices; version and digest say which adapter wrote, null the bare base."""

    id: str
    created: int
    model: str
    system_fingerprint: str | None
    version: str | None
    digest: str | None
    usage: Usage


class CompletionChoice(BaseModel):
    """One way to go on."""

    index: int
    id: str
    """Of this choice, for feedback."""
    text: str
    finish_reason: str
    logprobs: dict[str, Any] | None


class Completion(_Answer):
    """A prompt gone on with."""

    object: Literal["text_completion"]
    choices: list[CompletionChoice]


class ChatMessage(BaseModel):
    """What was answered."""

    role: Literal["assistant"]
    content: str
    refusal: None


class ChatChoice(BaseModel):
    """One answer to a chat."""

    index: int
    id: str
    """Of this choice, for feedback."""
    message: ChatMessage
    finish_reason: str
    logprobs: dict[str, Any] | None


class ChatCompletion(_Answer):
    """A chat answered."""

    object: Literal["chat.completion"]
    choices: list[ChatChoice]
