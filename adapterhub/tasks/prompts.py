"""Prompts and chats as callers give them, checked, and as tokens that a base reads. It knows no task and no model."""

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from adapterhub.errors import PredictionError
from adapterhub.tasks.task import Row


def parse_prompt(row: Any, task: str) -> Row:
    """Accept a text, a list of chat messages, or a mapping with `prompt` or `messages`. Raises PredictionError."""
    if isinstance(row, str):
        row = {"prompt": row}
    elif isinstance(row, list):
        row = {"messages": row}
    if not isinstance(row, dict) or ("prompt" in row) == ("messages" in row):
        raise PredictionError(f"A row for {task} must be a prompt or chat messages, found {str(row)[:80]!r}.",
                              hint="Give a text, or a list of messages with role and content.")
    if "prompt" in row:
        if not isinstance(row["prompt"], str) or not row["prompt"].strip():
            raise PredictionError(f"A row for {task} has no prompt: {str(row)[:80]}.",
                                  hint="Give a text that is not empty.")
        return {"prompt": row["prompt"]}
    messages = row["messages"]
    if not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
        raise PredictionError(f"The messages of a row for {task} cannot be read: {str(messages)[:80]}.",
                              hint='Give at least one {"role": "user", "content": "..."}.')
    return {"messages": [{"role": message["role"], "content": message["content"]} for message in messages]}


def encode_prompt(row: Row, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return a prompt's tokens, or a chat's by the base's own template. Raises PredictionError."""
    if "prompt" in row:
        tokens = list(tokenizer(row["prompt"]).input_ids)
    else:
        tokens = list(_by_template(row["messages"], tokenizer, adds_prompt=True, tokenize=True))
    if not tokens:
        raise PredictionError("The prompt has no token.", hint="Give a text that is not empty.")
    return tokens


def render_chat(messages: Sequence[dict[str, str]], tokenizer: PreTrainedTokenizerBase, *,
                is_over: bool = False) -> str:
    """Return a chat as the base's own template writes it; the assistant's turn is opened unless the chat `is_over`.

    Raises PredictionError where the template refuses it, or there is none.
    """
    return str(_by_template(messages, tokenizer, adds_prompt=not is_over, tokenize=False))


def _by_template(messages: Sequence[dict[str, str]], tokenizer: PreTrainedTokenizerBase, *, adds_prompt: bool,
                 tokenize: bool) -> Any:
    # jinja2 comes with transformers' chat templates alone
    from jinja2 import TemplateError

    if tokenizer.chat_template is None:
        raise PredictionError("This base has no chat template, so it reads no messages.",
                              hint="Give a prompt as one text.")
    try:
        return tokenizer.apply_chat_template(list(messages), add_generation_prompt=adds_prompt, tokenize=tokenize,
                                             return_dict=False)
    except TemplateError as error:
        raise PredictionError(f"The base's chat template refuses the messages: {error}.",
                              hint="Give roles and an order that it knows.") from error


def _is_message(message: Any) -> bool:
    return isinstance(message, dict) and all(isinstance(message.get(key), str) for key in ("role", "content"))
