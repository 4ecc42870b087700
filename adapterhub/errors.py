"""The error tree: every fault that a user or a file can cause, told in one sentence with the next step.

It does not know exit codes (cli/output.py) nor HTTP.
"""

import difflib
from collections.abc import Iterable


class AdapterHubError(Exception):
    """Anything adapterhub refuses; `str(error)` is the sentence, `hint` the next step."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UnknownName(AdapterHubError):
    """A name that is not in its table: task, method, metric, column."""

    def __init__(self, kind: str, value: str, known: Iterable[str]) -> None:
        self.kind, self.value, self.known = kind, value, sorted(known)
        super().__init__(
            f"Unknown {kind} {value!r}; known: {', '.join(self.known)}.",
            hint=did_you_mean(near_misses(value, self.known)),
        )


class InvalidConfig(AdapterHubError):
    """A setting outside its range."""


class DataError(AdapterHubError):
    """A data file that cannot be used: absent, empty, wrong columns, bad row, too few rows."""


class BaseNotFound(AdapterHubError):
    """A base that cannot be found or read."""


class BaseMismatch(AdapterHubError):
    """An adapter trained on one base was offered to another."""

    def __init__(self, adapter: str, expected: str, found: str) -> None:
        self.adapter, self.expected, self.found = adapter, expected, found
        super().__init__(
            f"Adapter {adapter} was trained on base {expected[:12]}, this base is {found[:12]}.",
            hint="Load it on its own base (see `adapterhub show`), or train it again on this one.",
        )


class InvalidReference(AdapterHubError):
    """A reference that is not namespace/name with an optional @version, @alias or @digest."""


class AdapterNotFound(AdapterHubError):
    """A reference that no registry at hand can resolve."""

    def __init__(self, reference: str, *, where: str, near: Iterable[str] = (), why: str = "", hint: str = "") -> None:
        self.reference, self.near = reference, list(near)
        super().__init__(
            f"No adapter {reference!r} in {where}{': ' + why if why else ''}.",
            hint=hint or did_you_mean(self.near) or "Try `adapterhub list`.",
        )


class VersionYanked(AdapterHubError):
    """A version that its publisher took back; only its digest still names it."""

    def __init__(self, version: str, reference: str, pinned: str) -> None:
        self.version = version
        of = f", which {reference} means," if reference != version else ""
        super().__init__(f"{version}{of} is yanked: it is not served.",
                         hint=f"Point the alias to another version, or ask for exactly these bytes by {pinned}.")


class VersionExists(AdapterHubError):
    """A version number that is taken; versions are created once and never changed."""


class PromotionRefused(AdapterHubError):
    """An alias that cannot move where it was told to."""


class PolicyRefused(AdapterHubError):
    """What the registry's policy does not allow: over a quota, or not signed by a known key."""


class InvalidFolder(AdapterHubError):
    """An adapter folder with faults; all of them are told together."""

    def __init__(self, folder: str, faults: list[str], *, hint: str = "") -> None:
        self.folder, self.faults = folder, faults
        told = "; ".join(faults[:8]) + (f"; and {len(faults) - 8} more" if len(faults) > 8 else "")
        super().__init__(f"Adapter folder {folder} is refused: {told}.", hint=hint)


class StorageError(AdapterHubError):
    """A place that cannot be read or written: no space, no permission, lost connection."""


class PredictionError(AdapterHubError):
    """A row that the runtime cannot answer."""


class Cancelled(PredictionError):
    """A row that its caller took back before a pass began with it."""


class DeadlinePassed(PredictionError):
    """A row whose time was over before a pass could begin with it."""


class PassFailed(PredictionError):
    """A row whose computation broke by a fault of ours; its words may hold a part of a text."""

    def __init__(self, fault: Exception) -> None:
        super().__init__(f"The pass failed: {type(fault).__name__}: {fault}.",
                         hint="Ask again; if it fails again, report it.")


class RankTooLarge(PredictionError):
    """An adapter that is larger than the whole budget of the slots."""


class RowTooLarge(PredictionError):
    """A row whose keys and values are larger than the whole budget of the cache."""

    def __init__(self, needed_bytes: int, budget_bytes: int) -> None:
        self.needed_bytes, self.budget_bytes = needed_bytes, budget_bytes
        super().__init__(f"The row needs {needed_bytes:,} bytes of keys and values, the cache has {budget_bytes:,}.",
                         hint=f"Give the generator cache_bytes of {needed_bytes}, shorten the prompt or ask for fewer "
                         "tokens.")


class NoRoom(PredictionError):
    """An adapter that does not fit beside those in use just now."""


class TrainingError(AdapterHubError):
    """A training run that cannot go on."""


class TrainingStopped(AdapterHubError):
    """A training run that someone stopped; its checkpoint is kept."""

    def __init__(self, *, step: int, total: int, best_epoch: int, output: str) -> None:
        self.step, self.total, self.best_epoch = step, total, best_epoch
        finish = f", or take its best epoch ({best_epoch}) with --finish" if best_epoch else ""
        super().__init__(f"Training was stopped after step {step} of {total}; its checkpoint is kept in {output}.run.",
                         hint=f"Go on with `adapterhub train --output {output} --resume`{finish}.")


def near_misses(value: str, known: Iterable[str], n: int = 3) -> list[str]:
    """Return up to `n` known names that look like `value`."""
    return difflib.get_close_matches(value, list(known), n=n, cutoff=0.5)


def did_you_mean(near: list[str]) -> str:
    """Return 'Did you mean a or b?', or nothing where nothing is near."""
    return f"Did you mean {' or '.join(near)}?" if near else ""
