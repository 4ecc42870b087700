"""What is kept of an answer, and of what somebody said about it, as frozen records. It knows no database."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Label = str | float | tuple[str, ...]
"""One label, the labels that hold, or a number: never a text."""
LABEL_FIELDS: Mapping[str, str] = {"text-classification": "label", "multi-label-classification": "labels",
                                   "text-regression": "score"}
"""Task -> the field of its rows, and of its answers, that is a label. Other tasks' answers hold texts."""
CORRECTION_FIELDS: Mapping[str, tuple[str, ...]] = {
    "text-classification": ("label",), "multi-label-classification": ("labels",), "text-regression": ("score",),
    "token-classification": ("tokens", "tags"), "question-answering": ("answers",),
    "sentence-similarity": ("query", "answer"), "text-generation": ("completion",),
    "text2text-generation": ("completion",)}
"""Task -> the fields of a training row that a correction may give; the others are those that were asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """One answer without any text."""

    id: str
    at_ms: int
    """UTC, milliseconds since 1970."""
    holder: str
    """Id of the token that asked."""
    reference: str | None
    """As it was asked for."""
    version: str | None
    """`namespace/name@3`; None: the bare base."""
    digest: str | None
    task: str
    label: Label | None
    """What was answered, where it is a label."""
    seconds: float
    """From the request to the answer."""

    @property
    def adapter(self) -> str | None:
        """`namespace/name`."""
        return self.version.rpartition("@")[0] if self.version else None

    @property
    def pinned(self) -> str | None:
        """The reference that means exactly these bytes."""
        return f"{self.adapter}@sha256:{self.digest}" if self.digest else None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptTexts:
    """The texts of one answer: what was asked, and what was answered."""

    answer_id: str
    row: Any
    result: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What one holder says of one answer; what is None is not said."""

    answer_id: str
    holder: str
    at_ms: int
    rating: float | None = None
    """0 (of no use) to 1 (right)."""
    label: Label | None = None
    """The true one."""
    correction: Mapping[str, Any] | None = None
    """Fields of the training row that would have been right: texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One answer with one holder's feedback, and the texts that are kept."""

    answer: KeptAnswer
    feedback: Feedback
    row: Any = None
    result: Any = None


def now_ms() -> int:
    """Return the time now, UTC, in milliseconds since 1970."""
    return int(datetime.now(UTC).timestamp() * 1000)


def shown_time(at_ms: int) -> str:
    """Return a time as ISO 8601, UTC, in seconds."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds")


def label_of(task: str, result: Mapping[str, Any]) -> Label | None:
    """Return an answer's label; None for a task whose answers are texts or vectors."""
    field = LABEL_FIELDS.get(task)
    return as_label(result.get(field)) if field else None


def as_label(value: Any) -> Label | None:
    """Return a JSON value as a label; None where it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return float(value)
    return tuple(map(str, value)) if isinstance(value, list | tuple) else None


def is_same_label(one: Label | None, other: Label | None) -> bool:
    """Say whether two labels mean the same; of several the order means nothing."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return set(one) == set(other)
    return one == other
