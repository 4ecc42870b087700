"""An estimate held to the run that it was made for: memory, time, bytes, and how far off each was."""

from dataclasses import dataclass

import psutil
import torch

from adapterhub.adapter.peft_config import WEIGHTS_FILE
from adapterhub.bases.processor import peak_memory_bytes
from adapterhub.costs.allocator import forget_peak
from adapterhub.costs.estimate import Estimate
from adapterhub.training.run import TrainResult
from adapterhub.training.watch import EpochFacts, StepFacts


class PeakMemory:
    """Looks on while a run goes: the peak of the steps of its first epoch, above what the process had before."""

    def __init__(self) -> None:
        forget_peak()
        self._start = 0 if torch.cuda.is_available() else psutil.Process().memory_info().rss
        self._has_ended = False
        self.bytes = 0

    def step_ended(self, facts: StepFacts) -> None:
        """Take the peak; what is measured and written after an epoch is no part of a step."""
        if not self._has_ended:
            self.bytes = max(0, peak_memory_bytes() - self._start)

    def epoch_ended(self, facts: EpochFacts) -> None:
        """Look no further."""
        self._has_ended = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Foretold:
    """One figure, before the run and after it."""

    what: str
    estimated: float
    measured: float
    unit: str

    @property
    def error(self) -> float | None:
        """How far off the estimate was, as a share of what was measured; None where nothing could be measured.

        A process that has freed much memory before takes its steps out of that: its peak does not rise.
        """
        return self.estimated / self.measured - 1 if self.measured else None

    def line(self) -> tuple[str, str, str, str]:
        """Return the figure for people."""
        estimated, measured = (f"{value:,.1f} {self.unit}" for value in (self.estimated, self.measured))
        if self.error is None:
            return self.what, estimated, "not measurable: out of what was free", ""
        return self.what, estimated, measured, f"{self.error:+.0%}"


def hold_to(found: Estimate, result: TrainResult, peak_bytes: int) -> list[Foretold]:
    """Return what was estimated beside what was measured; time is that of the steps that were made."""
    lines = [Foretold(what="peak memory above the start", estimated=found.peak_memory_bytes / 1e6,
                      measured=peak_bytes / 1e6, unit="MB")]
    if found.total_seconds and found.n_steps:
        share = result.outcome.n_steps / found.n_steps
        lines.append(Foretold(what=f"{result.outcome.n_steps} steps", estimated=found.total_seconds * share,
                              measured=result.seconds_ahead + sum(result.outcome.step_seconds), unit="s"))
    if result.folder:
        lines.append(Foretold(what="tensors of the result on disk", estimated=found.file_bytes / 1e3,
                              measured=(result.folder / WEIGHTS_FILE).stat().st_size / 1e3, unit="kB"))
    return lines
