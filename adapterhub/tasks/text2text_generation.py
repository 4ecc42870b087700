"""text2text-generation: an encoder-decoder base reads a text and writes another."""

from collections.abc import Sequence
from typing import Any

from transformers import AutoModelForSeq2SeqLM, PreTrainedTokenizerBase

from adapterhub.tasks.generation import decode_tokens, encode_prompt, parse_prompt
from adapterhub.tasks.task import Row


class Text2TextGeneration:
    """A new text from a text, by the base's own language-model head."""

    name = "text2text-generation"
    auto_class = AutoModelForSeq2SeqLM
    peft_task_type = "SEQ_2_SEQ_LM"

    def parse_row(self, row: Any) -> Row:
        """Accept a prompt, chat messages, or a mapping with one of them."""
        return parse_prompt(row, self.name)

    def encode_prompt(self, row: Row, tokenizer: PreTrainedTokenizerBase) -> list[int]:
        """Return the prompt's tokens as the base reads them."""
        return encode_prompt(row, tokenizer)

    def decode(self, tokens: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> str:
        """Return new tokens as text, without special ones."""
        return decode_tokens(tokens, tokenizer)
