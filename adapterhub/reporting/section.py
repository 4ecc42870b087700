"""The pieces of a report: a title, a few words, a table, a picture. Pages and terminals show the same ones."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture as SVG."""

    alt: str
    """What it shows, in words."""
    svg: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of a report."""

    title: str
    note: str = ""
    """How to read it, in plain words."""
    header: tuple[str, ...] = ()
    lines: Sequence[tuple[str, ...]] = ()
    picture: Picture | None = None
    n_seen: int | None = None
    """Lines that a terminal shows; None for all."""


def figure(value: float) -> str:
    """Return a figure with four digits behind the point."""
    return f"{value:.4f}"


def span(low: float, high: float) -> str:
    """Return an interval in words."""
    return f"{low:.4f} to {high:.4f}"
