"""Progress for long work, on standard error, silent where nobody looks."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Progress(Protocol):
    """What long work tells about itself."""

    def update(self, completed: int, note: str = "") -> None:
        """Say how many units are done, with a few words beside the bar."""


ShowProgress = Callable[[str, int], AbstractContextManager[Progress]]
"""From a title and the number of units to a progress: `progress_bar`, or a caller's own."""


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

    columns = (rich_progress.TextColumn("{task.description}", markup=False), rich_progress.BarColumn(),
               rich_progress.MofNCompleteColumn(), rich_progress.TimeRemainingColumn(),
               rich_progress.TextColumn("{task.fields[note]}", markup=False))
    with rich_progress.Progress(*columns, console=Console(stderr=True)) as display:
        task = display.add_task(title, total=total, note="")
        yield _Bar(lambda completed, note: display.update(task, completed=completed, note=note))


@contextmanager
def waiting(title: str, *, is_shown: bool | None = None) -> Iterator[None]:
    """Show a spinner during work whose length nobody knows; shown as `progress_bar` is."""
    if not (sys.stderr.isatty() if is_shown is None else is_shown):
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(title):
        yield


class _Bar:
    def __init__(self, show: Callable[[int, str], None]) -> None:
        self._show = show

    def update(self, completed: int, note: str = "") -> None:
        self._show(completed, note)
