"""One object of a place as a listing shows it, and what a place may know of an adapter without a listing."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A key with what the place knows of it without reading it."""

    key: str
    size_bytes: int
    modified_at: datetime
    """With its zone."""


@runtime_checkable
class HasStamps(Protocol):
    """A place that knows at once whether anything of an adapter changed."""

    def stamps(self) -> Iterator[tuple[str, str]]:
        """Yield each adapter's name with a text that changes whenever one of its objects is created."""
