"""Seeded texts of an exact number of tokens, as strings and encoded."""

import numpy as np

from adapterhub.bases.load import Base
from adapterhub.tasks.task import Example, TokenSequence

_N_SPECIAL = 2
"""Tokens that the tokenizer puts around a text."""


class TextSource:
    """Texts of random words that are one token each."""

    def __init__(self, base: Base, seed: int) -> None:
        vocabulary: dict[str, int] = base.tokenizer.get_vocab()
        self._words = sorted(word for word in vocabulary if word.isascii() and word.isalpha() and len(word) > 2)
        self._tokenizer, self._random = base.tokenizer, np.random.default_rng(seed)

    def text(self, n_tokens: int) -> str:
        """Return a new text of exactly `n_tokens` tokens, the two around it counted."""
        chosen = self._random.integers(0, len(self._words), n_tokens - _N_SPECIAL)
        return " ".join(self._words[i] for i in chosen)

    def example(self, n_tokens: int) -> Example:
        """Return a new text, encoded."""
        ids = self._tokenizer(self.text(n_tokens))["input_ids"]
        assert len(ids) == n_tokens, "every word is one token"
        return Example(sequences=[TokenSequence(input_ids=ids, token_type_ids=[0] * n_tokens)])
