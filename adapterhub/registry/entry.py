"""One object of a place as a listing shows it."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A key with what the place knows of it without reading it."""

    key: str
    size_bytes: int
    modified_at: datetime
    """With its zone."""
