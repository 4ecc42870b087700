"""The rows in flight: read their prompts, write a token each, leave. It knows no queue and no registry.

What layers add is worked out when rows join or leave, and holds for every step between.
"""

from collections.abc import Collection, Sequence

import torch

from adapterhub.runtime.generation.key_values import KeyValues, Need, Pick, joined
from adapterhub.runtime.generation.language_model import SlotLanguageModel, Work
from adapterhub.runtime.generation.likelihood import likelihoods
from adapterhub.runtime.generation.row import WritingRow
from adapterhub.runtime.generation.sampler import Sampler, choose_tokens
from adapterhub.runtime.grouping import order_of
from adapterhub.runtime.loaded import LoadedAdapter


class Flight:
    """Rows that write together. Not thread-safe."""

    def __init__(self, model: SlotLanguageModel) -> None:
        self._model = model
        self.rows: list[WritingRow] = []
        self._kept: KeyValues | None = None
        self._work: Work = {}

    @property
    def size_bytes(self) -> int:
        """Memory of keys and values."""
        return self._kept.size_bytes if self._kept else 0

    @property
    def needs(self) -> list[Need]:
        """What each row takes when it is longest."""
        return [row.need for row in self.rows]

    def join(self, rows: Sequence[WritingRow]) -> list[WritingRow]:
        """Read rows' prompts in one pass, give each its first token, and return those that ended with it."""
        rows = [rows[i] for i in order_of([_adapter(row) for row in rows])]
        logits, kept = self._model.read([row.prompt for row in rows], self._model.work_of(list(map(_adapter, rows))))
        _take(rows, logits)
        self._keep([*self.rows, *rows], [*([self._kept] if self._kept else []), kept])
        return [row for row in rows if row.is_done]

    def advance(self) -> list[WritingRow]:
        """Give every row its next token, and return those that ended with it, which have left."""
        if self._kept is None:
            return []
        logits = self._model.advance([row.tokens[-1] for row in self.rows], self._kept, self._work)
        _take(self.rows, logits)
        ended = [row for row in self.rows if row.is_done]
        self.leave(ended)
        return ended

    def leave(self, rows: Collection[WritingRow]) -> None:
        """Let rows go; their memory is free at once."""
        if self._kept is not None and any(row in self.rows for row in rows):
            self._keep(self.rows, [self._kept], without=rows)

    def clear(self) -> None:
        """Let all rows go."""
        self.rows, self._kept, self._work = [], None, {}

    def _keep(self, rows: Sequence[WritingRow], parts: Sequence[KeyValues],
              without: Collection[WritingRow] = ()) -> None:
        """Keep these rows, which lie in `parts` one after the other, but for those that are done or `without`."""
        picks = [Pick(part, row) for part, kept in enumerate(parts) for row in range(len(kept.lengths))]
        staying = [i for i, row in enumerate(rows) if not row.is_done and row not in without]
        if not staying:
            self.clear()
            return
        order = order_of([_adapter(rows[i]) for i in staying])
        chosen = [staying[i] for i in order]
        self.rows = [rows[i] for i in chosen]
        self._kept = joined(parts, [picks[i] for i in chosen], max_width=max(need.n_columns for need in self.needs))
        self._work = self._model.work_of(list(map(_adapter, self.rows)))


def _take(rows: Sequence[WritingRow], logits: torch.Tensor) -> None:
    """Give each row its next token. logits [B, V] float32."""
    tokens = choose_tokens(logits, *_choices(rows))
    told = likelihoods(logits, tokens, [row.settings.n_likeliest for row in rows])
    for row, token, likelihood in zip(rows, tokens, told, strict=True):
        row.take(token, likelihood)


def _adapter(row: WritingRow) -> LoadedAdapter:
    assert row.adapter is not None, "rows in flight have their adapter"
    return row.adapter


def _choices(rows: Sequence[WritingRow]) -> tuple[list[Sampler], list[list[int]]]:
    return [row.sampler for row in rows], [[*row.start, *row.tokens] for row in rows]
