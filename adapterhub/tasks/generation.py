"""What the tasks that write text share: rows as prompts or chats, prompts as tokens. It knows no model."""

from collections.abc import Sequence
from typing import Any, Protocol

from transformers import PreTrainedTokenizerBase

from adapterhub.errors import PredictionError
from adapterhub.tasks.task import Row


class GenerationTask(Protocol):
    """A task whose answer is new text, in the Hugging Face pipeline's name.

    It is no `Task`: it reads no outputs of one pass, and its answer is made step by step.
    """

    name: str
    auto_class: Any
    """The transformers class that holds the language-model head."""
    peft_task_type: str

    def parse_row(self, row: Any) -> Row:
        """Turn what a caller gives into a row with `prompt` or `messages`. Raises PredictionError."""

    def encode_prompt(self, row: Row, tokenizer: PreTrainedTokenizerBase) -> list[int]:
        """Return the prompt's tokens. Raises PredictionError where there are none."""

    def decode(self, tokens: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> str:
        """Return new tokens as text, without special ones."""


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
    elif tokenizer.chat_template is None:
        raise PredictionError("This base has no chat template, so it reads no messages.",
                              hint="Give a prompt as one text.")
    else:
        tokens = _encode_chat(row["messages"], tokenizer)
    if not tokens:
        raise PredictionError("The prompt has no token.", hint="Give a text that is not empty.")
    return tokens


def decode_tokens(tokens: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> str:
    """Return new tokens as text, without special ones."""
    return str(tokenizer.decode(list(tokens), skip_special_tokens=True))


def _encode_chat(messages: list[dict[str, str]], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    # jinja2 comes with transformers' chat templates alone
    from jinja2 import TemplateError

    try:
        encoded: Any = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True,
                                                     return_dict=False)
    except TemplateError as error:
        raise PredictionError(f"The base's chat template refuses the messages: {error}.",
                              hint="Give roles and an order that it knows.") from error
    return list(encoded)


def _is_message(message: Any) -> bool:
    return isinstance(message, dict) and all(isinstance(message.get(key), str) for key in ("role", "content"))
