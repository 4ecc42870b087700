"""Chats by the base's own template, and which of their tokens the assistant wrote. It knows no model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from adapterhub.data.chats import ANSWERING
from adapterhub.errors import DataError, PredictionError
from adapterhub.tasks.prompts import encode_prompt, render_chat

Messages = Sequence[dict[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """One row's tokens: what is read before the last answer, and that answer."""

    prompt: list[int]
    completion: list[int]
    is_learned: list[bool]
    """For each token of the prompt, whether it is learned too: earlier answers of a chat are."""
    is_ended: bool = False
    """Whether the completion ends a turn by itself."""


def encode_turns(messages: Messages, tokenizer: PreTrainedTokenizerBase) -> Turns:
    """Return a chat's tokens: the prompt exactly as it is served, and its last answer as the template writes it.

    Earlier answers are learned where the template writes them as it wrote them when they were the last; some leave
    out what the assistant thought. Raises DataError where there is no template, or it cannot tell the last answer.
    """
    earlier = list(messages[:-1])
    try:
        prompt = encode_prompt({"messages": earlier}, tokenizer)
        before, whole = render_chat(earlier, tokenizer), render_chat(messages, tokenizer, is_over=True)
    except PredictionError as error:
        raise DataError(f"{error.message.rstrip('.')}; the chat begins with {str(messages[0])[:60]}.",
                        hint=error.hint) from error
    if not whole.startswith(before):
        raise DataError("The base's chat template writes a chat anew when its last answer comes: what is served would "
                        "not be what was learned.", hint="Give prompts and completions instead.")
    completion = list(tokenizer(whole[len(before):], add_special_tokens=False).input_ids)
    return Turns(prompt=prompt, completion=completion, is_learned=_earlier_answers(earlier, before, prompt, tokenizer),
                 is_ended=tokenizer.eos_token_id in completion)


def _earlier_answers(earlier: Messages, before: str, prompt: list[int],
                     tokenizer: PreTrainedTokenizerBase) -> list[bool]:
    spans = [span for i, message in enumerate(earlier)
             if i and message["role"] == ANSWERING and (span := _span_of(earlier, i, before, tokenizer))]
    if not spans or not tokenizer.is_fast:
        return [False] * len(prompt)
    encoded: Any = tokenizer(before, add_special_tokens=False, return_offsets_mapping=True)
    if encoded["input_ids"] != prompt:
        return [False] * len(prompt)
    return [first < last and any(start <= first and last <= end for start, end in spans)
            for first, last in encoded["offset_mapping"]]


def _span_of(earlier: Messages, i: int, before: str, tokenizer: PreTrainedTokenizerBase) -> tuple[int, int] | None:
    """Return the characters that the i-th message added, None where the template wrote them otherwise then."""
    asked = render_chat(earlier[:i], tokenizer)
    answered = render_chat(earlier[:i + 1], tokenizer, is_over=True)
    is_same = answered.startswith(asked) and before.startswith(answered)
    return (len(asked), len(answered)) if is_same else None
