"""Progress bars for long work, on standard error, silent where nobody looks."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """What long work tells about itself."""

    def update(self, completed: int, note: str = "") -> None:
        """Say how many units are done, with a few words beside the bar."""


class Silent:
    """A progress that nobody sees."""

    def update(self, completed: int, note: str = "") -> None:
        """Do nothing."""


@contextmanager
def progress_bar(title: str, total: int, *, is_shown: bool | None = None) -> Iterator[Progress]:
    """Yield a bar of `total` units; shown where standard error is a terminal, unless told otherwise."""
    if not (sys.stderr.isatty() if is_shown is None else is_shown):
        yield Silent()
        return
    # rich: kept out of `--help`
    from rich import progress as rich_progress
    from rich.console import Console

    columns = (rich_progress.TextColumn("{task.description}"), rich_progress.BarColumn(),
               rich_progress.MofNCompleteColumn(), rich_progress.TimeRemainingColumn(),
               rich_progress.TextColumn("{task.fields[note]}"))
    with rich_progress.Progress(*columns, console=Console(stderr=True)) as display:
        yield _Bar(display, display.add_task(title, total=total, note=""))


class _Bar:
    def __init__(self, display: object, task: int) -> None:
        self._display, self._task = display, task

    def update(self, completed: int, note: str = "") -> None:
        self._display.update(self._task, completed=completed, note=note)  # type: ignore[attr-defined]  # rich is lazy
