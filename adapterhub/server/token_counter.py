"""How many tokens texts have, for what clients are told of their use. It has a tokenizer of its own.

The runtime's sets its cut for every batch; two threads at one tokenizer would meet in that.
"""

from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase


class TokenCounter:
    """Counts as the base reads. Thread-safe: nothing of it changes."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        backend: Any = getattr(tokenizer, "backend_tokenizer", None)
        self._own = Tokenizer.from_str(backend.to_str()) if backend is not None else None
        self._slow = tokenizer
        if self._own is not None:
            self._own.no_truncation()
            self._own.no_padding()

    def count(self, texts: Sequence[str]) -> int:
        """Return the tokens of all texts, special ones included."""
        if self._own is None:
            return sum(len(self._slow(text).input_ids) for text in texts)
        return sum(len(encoding.ids) for encoding in self._own.encode_batch(list(texts)))
