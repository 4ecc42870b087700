"""What is known of rows before training: their parts, labels, doubles, contradictions and lengths, as records."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

QUANTILES = (0.5, 0.9, 0.95, 0.99, 1.0)
_NAMES = tuple(f"{share:.0%}" for share in QUANTILES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """How many tokens the rows of one part have, before any is cut; of several sequences a row's longest counts."""

    quantiles: dict[str, int]
    """`50%` -> the most tokens that half of the rows have, and so on up to `100%`."""
    n_cut: int
    """Rows that lose tokens at `max_length`."""
    n_tokens: int
    n_tokens_cut: int

    @classmethod
    def of(cls, lengths: Sequence[int], kept: Sequence[int], n_cut: int) -> "Lengths":
        """Summarise rows' tokens [N] before and after they were cut."""
        taken = np.quantile(np.asarray(lengths), QUANTILES, method="inverted_cdf") if len(lengths) else []
        total = int(np.sum(lengths))
        return cls(quantiles=dict(zip(_NAMES, map(int, taken), strict=False)), n_cut=n_cut, n_tokens=total,
                   n_tokens_cut=total - int(np.sum(kept)))

    @classmethod
    def of_dict(cls, value: Mapping[str, Any]) -> "Lengths":
        """Return what `asdict` gave, with the quantiles in their order. Raises TypeError or KeyError for another."""
        quantiles = value["quantiles"]
        return cls(**{**value, "quantiles": {name: quantiles[name] for name in _NAMES if name in quantiles}})


@dataclass(frozen=True, slots=True, kw_only=True)
class PartReport:
    """The rows of one part, as training takes them."""

    name: str
    n_rows: int
    labels: dict[str, int]
    """Label -> rows, of tags words; empty where the task has no labels."""
    lengths: Lengths | None = None
    """None until the rows were encoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """One text that stands with several answers."""

    text: str
    """Its beginning."""
    answers: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NearReport:
    """Rows that say nearly the same as another; those that say the same are counted elsewhere."""

    least: float
    """The likeness that was asked for: the share of word pairs that two texts have in common."""
    n_repeated: int
    """Rows that are nearly like an earlier one of the same file, with the same answer."""
    n_shared: dict[str, int]
    """As `DataReport.n_shared`, of texts that are nearly like."""
    examples: tuple[tuple[str, str], ...]
    """The beginnings of the first of them, each beside the text that it is like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataReport:
    """Everything that is told of a source's rows before training."""

    name: str
    parts: tuple[PartReport, ...]
    n_repeated: int
    """Rows that an earlier row of the same file says already, its answer included; white space and case left out."""
    n_shared: dict[str, int]
    """`train` -> rows whose text also stands in validation or test; `validation` -> in test."""
    n_removed: int
    """Rows that were left out as repeated or shared, or nearly so; 0 where that was not asked for."""
    n_conflicts: int
    """Texts that stand with several labels, scores or tags."""
    conflicts: tuple[Conflict, ...] = field(default=())
    """The first of them."""
    near: NearReport | None = None
    """None where near-duplicates were not looked for."""

    @property
    def n_rows(self) -> dict[str, int]:
        """Rows per part."""
        return {part.name: part.n_rows for part in self.parts}

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, for programs."""
        return {**asdict(self), "parts": {part.name: _without_name(part) for part in self.parts}}

    def facts(self) -> dict[str, int]:
        """Return what the manifest and the card keep of it."""
        cut = {f"rows_cut_{part.name}": part.lengths.n_cut for part in self.parts if part.lengths and part.n_rows}
        shared = {f"rows_shared_{part}": count for part, count in self.n_shared.items()}
        return {"rows_repeated": self.n_repeated, "rows_removed": self.n_removed,
                "texts_in_conflict": self.n_conflicts, **shared, **cut, **self._near_facts()}

    def _near_facts(self) -> dict[str, int]:
        if self.near is None:
            return {}
        return {"rows_nearly_repeated": self.near.n_repeated,
                **{f"rows_nearly_shared_{part}": count for part, count in self.near.n_shared.items()}}


def _without_name(part: PartReport) -> Mapping[str, Any]:
    return {name: value for name, value in asdict(part).items() if name != "name"}
