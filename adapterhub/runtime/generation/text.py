"""New tokens as text, piece by piece: whole characters only, and never a part of a stop string."""

from collections.abc import Sequence
from typing import Any

from tokenizers.decoders import DecodeStream
from transformers import PreTrainedTokenizerBase


class TextPieces:
    """The text of one row while it grows."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stop_strings: Sequence[str]) -> None:
        self._backend: Any = tokenizer.backend_tokenizer  # only fast tokenizers come here
        self._tokenizer, self._stops = tokenizer, tuple(stop_strings)
        self._stream = DecodeStream(skip_special_tokens=True)
        self._tokens: list[int] = []
        self._given = self._held = ""
        self.is_stopped = False

    def add(self, token: int) -> str:
        """Take one more token and return the text that is certain now."""
        self._tokens.append(token)
        self._held += self._stream.step(self._backend, token) or ""
        ends = [end for end in (self._held.find(stop) for stop in self._stops) if end >= 0]
        if ends:
            self.is_stopped = True
            return self._give(min(ends))
        return self._give(len(self._held) - self._n_kept_back())

    def finish(self) -> str:
        """Return what was kept back; a character that never became whole comes as the tokenizer decodes it."""
        if self.is_stopped:
            return ""
        text = str(self._tokenizer.decode(self._tokens, skip_special_tokens=True))
        known = self._given + self._held
        self._held = text[len(self._given):] if text.startswith(known) else self._held
        return self._give(len(self._held))

    def _give(self, n_characters: int) -> str:
        piece, self._held = self._held[:n_characters], self._held[n_characters:]
        self._given += piece
        return piece

    def _n_kept_back(self) -> int:
        """Return how many last characters may be the beginning of a stop string."""
        longest = max(map(len, self._stops), default=0)
        for size in range(min(longest - 1, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-size:]) for stop in self._stops):
                return size
        return 0
