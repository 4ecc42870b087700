"""OpenAI's forms for writing: what a request may hold, as a wish; and its answers, whole and in chunks."""

import secrets
import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from transformers import PreTrainedTokenizerBase

from adapterhub.runtime.generation.row import DEADLINE, Generated, TokenPiece
from adapterhub.runtime.generation.settings import GenerationSettings
from adapterhub.server.errors import BadRequest

Model = Annotated[str, Field(min_length=1, max_length=300, examples=["stories/dragons"])]
_MOST_STOPS = 16
_MOST_LIKELIEST = 20


class StreamOptions(BaseModel):
    """What a stream tells beside its text."""

    model_config = ConfigDict(extra="forbid", strict=True)

    include_usage: bool = False
    include_obfuscation: bool | None = None


class _Request(BaseModel):
    """What both forms take."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: Model
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    n: int | None = Field(None, ge=1, le=8)
    stop: str | list[str] | None = None
    seed: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    presence_penalty: float | None = Field(None, ge=0, le=0, description="Only 0.")
    frequency_penalty: float | None = Field(None, ge=0, le=0, description="Only 0.")
    logit_bias: dict[str, float] | None = Field(None, max_length=0, description="Only none.")
    user: str | None = Field(None, description="Taken, and without meaning here.")

    @property
    def n_choices(self) -> int:
        """How many answers."""
        return self.n or 1

    @property
    def has_usage(self) -> bool:
        """Whether a stream ends with its usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    def settings(self, max_new_tokens: int, n_likeliest: int | None) -> GenerationSettings:
        """Return how rows write. Raises BadRequest for stop strings that are none."""
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        if len(stops) > _MOST_STOPS or not all(stops):
            raise BadRequest(f"stop holds {len(stops)} texts, expected up to {_MOST_STOPS}, none of them empty.",
                             field="stop", hint="Leave it out, or give texts.")
        seed = secrets.randbits(31) if self.seed is None else self.seed % 2**62
        return GenerationSettings(max_new_tokens=max_new_tokens, seed=seed, stop_strings=tuple(stops),
                                  temperature=1.0 if self.temperature is None else self.temperature,
                                  top_p=1.0 if self.top_p is None else self.top_p, n_likeliest=n_likeliest)


class CompletionRequest(_Request):
    """A prompt to go on with."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [
        {"model": "stories/dragons", "prompt": "Once upon a time", "max_tokens": 32, "temperature": 0}]})

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]
    logprobs: int | None = Field(None, ge=0, le=_MOST_LIKELIEST)
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None
    suffix: None = None

    def text(self) -> str:
        """Return the prompt. Several are asked for one by one: they are written together all the same."""
        return self.prompt if isinstance(self.prompt, str) else self.prompt[0]


class TextPart(BaseModel):
    """A part of a message's content."""

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One message of a chat."""

    model_config = ConfigDict(extra="forbid", strict=True)

    role: str = Field(max_length=64, examples=["user"])
    content: str | list[TextPart]
    name: str | None = None

    def to_dict(self) -> dict[str, str]:
        """Return what the base's chat template reads."""
        content = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": self.role, "content": content}


class TextFormat(BaseModel):
    """The one form of answers: text."""

    type: Literal["text"]


class ChatRequest(_Request):
    """A chat to answer, through the base's own chat template."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [
        {"model": "support/replies", "messages": [{"role": "user", "content": "Where is my parcel?"}]}]})

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=_MOST_LIKELIEST)
    response_format: TextFormat | None = None

    @property
    def n_likeliest(self) -> int | None:
        """How many likeliest tokens stand beside each; None: no log-probabilities."""
        return (self.top_logprobs or 0) if self.logprobs else None


def finish_reason(outcome: Generated) -> str:
    """Return why a row ended, in OpenAI's words: one whose time was over counts as one cut at its length."""
    return "length" if outcome.finish_reason == DEADLINE else outcome.finish_reason


def usage(outcomes: Sequence[Generated]) -> dict[str, int]:
    """Return the tokens of all choices; their one prompt counts once."""
    n_read, n_written = outcomes[0].n_prompt_tokens, sum(len(outcome.tokens) for outcome in outcomes)
    return {"prompt_tokens": n_read, "completion_tokens": n_written, "total_tokens": n_read + n_written}


class Form:
    """One of the two forms: how choices, chunks and log-probabilities are told."""

    def __init__(self, *, is_chat: bool, tokenizer: PreTrainedTokenizerBase) -> None:
        self._is_chat, self._tokenizer = is_chat, tokenizer
        self.name = "chat.completion" if is_chat else "text_completion"
        self.chunk_name = "chat.completion.chunk" if is_chat else "text_completion"

    def envelope(self, answer_id: str, model: str, digest: str | None, *, is_chunk: bool) -> dict[str, Any]:
        """Return what stands around choices."""
        return {"id": answer_id, "object": self.chunk_name if is_chunk else self.name, "created": int(time.time()),
                "model": model, "system_fingerprint": digest}

    def choice(self, i: int, own_id: str, text: str, pieces: Sequence[TokenPiece], reason: str) -> dict[str, Any]:
        """Return one whole choice, with the id that feedback names it by."""
        body = {"message": {"role": "assistant", "content": text, "refusal": None}} if self._is_chat else {"text": text}
        return {"index": i, "id": own_id, **body, "logprobs": self.logprobs(pieces), "finish_reason": reason}

    def first_chunk(self, i: int) -> dict[str, Any] | None:
        """Return what opens a choice: in a chat, who speaks."""
        if not self._is_chat:
            return None
        return {"index": i, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}

    def chunk(self, i: int, pieces: Sequence[TokenPiece], text: str) -> dict[str, Any]:
        """Return new text of a choice."""
        body = {"delta": {"content": text}} if self._is_chat else {"text": text}
        return {"index": i, **body, "logprobs": self.logprobs(pieces), "finish_reason": None}

    def last_chunk(self, i: int, own_id: str, reason: str) -> dict[str, Any]:
        """Return what closes a choice, with its id."""
        body: dict[str, Any] = {"delta": {}} if self._is_chat else {"text": ""}
        return {"index": i, "id": own_id, **body, "logprobs": None, "finish_reason": reason}

    def logprobs(self, pieces: Sequence[TokenPiece]) -> dict[str, Any] | None:
        """Return the tokens' log-probabilities; None where they were not asked for."""
        told = [(piece.token, piece.likelihood) for piece in pieces if piece.likelihood is not None]
        if not told:
            return None
        if self._is_chat:
            return {"refusal": None, "content": [
                {**self._token(token, likelihood.logprob),
                 "top_logprobs": [self._token(other, value) for other, value in likelihood.likeliest]}
                for token, likelihood in told]}
        texts = [self._text(token) for token, _ in told]
        return {"tokens": texts, "token_logprobs": [likelihood.logprob for _, likelihood in told],
                "top_logprobs": [{self._text(other): value for other, value in likelihood.likeliest}
                                 for _, likelihood in told],
                "text_offset": [sum(map(len, texts[:i])) for i in range(len(texts))]}

    def _token(self, token: int, logprob: float) -> dict[str, Any]:
        text = self._text(token)
        return {"token": text, "logprob": logprob, "bytes": list(text.encode(errors="replace"))}

    def _text(self, token: int) -> str:
        return str(self._tokenizer.decode([token]))
