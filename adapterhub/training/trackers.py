"""Trackers: a run's figures as JSON lines by default, and to any tracker that Accelerate knows."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from accelerate import Accelerator
from accelerate.tracking import GeneralTracker, get_available_trackers, on_main_process
from accelerate.utils import LoggerType

from adapterhub.errors import InvalidConfig, UnknownName
from adapterhub.training.watch import EpochFacts, StepFacts

JSON_LINES = "jsonl"
KNOWN = (JSON_LINES, *(name for name in LoggerType.list() if name != "all"))


class JsonLines(GeneralTracker):  # type: ignore[misc]  # accelerate is untyped
    """One JSON object per line: `step` and what was measured there."""

    name = JSON_LINES
    requires_logging_directory = False

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._file: IO[str] | None = None

    @property
    def tracker(self) -> Path:
        """The file."""
        return self._path

    @on_main_process  # type: ignore[untyped-decorator]
    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        """Append one line."""
        self._file = self._file or self._path.open("a", encoding="utf-8")
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()

    @on_main_process  # type: ignore[untyped-decorator]
    def finish(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()


def require_trackers(names: Sequence[str]) -> None:
    """Raise UnknownName for a tracker that nobody knows, InvalidConfig for one whose package is not installed."""
    for name in names:
        if name not in KNOWN:
            raise UnknownName("tracker", name, KNOWN)
        if name != JSON_LINES and name not in get_available_trackers():
            raise InvalidConfig(f"The tracker {name!r} is not installed.", hint=f"Run: pip install {name}")


def trackers_for(names: Sequence[str], log: Path) -> list[str | GeneralTracker]:
    """Return what `Accelerator(log_with=...)` takes; JSON lines go to `log`."""
    return [JsonLines(log) if name == JSON_LINES else name for name in names]


def cut_log(log: Path, step: int) -> None:
    """Drop the lines of steps behind `step`, which a resumed run makes again."""
    if log.is_file():
        kept = [line for line in log.read_text(encoding="utf-8").splitlines(keepends=True) if _step_of(line) <= step]
        log.write_text("".join(kept), encoding="utf-8")


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):  # a line cut short by a kill
        return float("inf")


class Tracking:
    """Sends what the loop tells to an accelerator's trackers."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator

    def step_ended(self, facts: StepFacts) -> None:
        """Log a step."""
        self._accelerator.log({
            "epoch": facts.epoch, "loss": facts.loss, "learning_rate": facts.learning_rate,
            "gradient_norm": facts.gradient_norm, "rows_per_second": facts.n_rows / facts.seconds}, step=facts.step)

    def epoch_ended(self, facts: EpochFacts) -> None:
        """Log an epoch's validation figures."""
        figures = {f"validation_{name}": value for name, value in facts.metrics.items()}
        self._accelerator.log({"epoch": facts.epoch, "epoch_loss": facts.loss, **figures}, step=facts.step)
