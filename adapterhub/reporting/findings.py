"""Everything that is found in one model's outputs on one set of rows."""

from collections.abc import Mapping
from dataclasses import dataclass

from adapterhub.reporting.calibration import ERROR, Calibration, calibration_figure, calibration_of
from adapterhub.reporting.confusion import Confusion, confusion_of
from adapterhub.reporting.figures import Figure
from adapterhub.reporting.intervals import Interval, intervals
from adapterhub.reporting.measured import Measured
from adapterhub.reporting.readers import read_rows
from adapterhub.reporting.reading import JudgedRow, Reading
from adapterhub.reporting.span_errors import SpanErrors, span_errors_of
from adapterhub.tasks.task import Evaluation

N_WORST = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """One adapter's figures with their intervals, and what lies behind them."""

    name: str
    evaluation: Evaluation
    intervals: dict[str, Interval]
    """Of the evaluation's metrics, and of the calibration error; a metric without one is not in it."""
    calibration: Calibration | None = None
    confusion: Confusion | None = None
    span_errors: list[SpanErrors]
    worst: list[JudgedRow]
    """Wrong rows, the most certainly wrong first."""
    n_wrong: int
    has_right_rows: bool = True
    """False where rows are only nearer or further off; then the worst are those furthest off."""

    @property
    def metrics(self) -> dict[str, float]:
        """The evaluation's metrics, and the calibration error where there is one."""
        error = {ERROR: self.calibration.error} if self.calibration else {}
        return {**self.evaluation.metrics, **error}


def metrics_of(measured: Measured) -> dict[str, float]:
    """Return what `Findings.metrics` holds, without what lies behind the figures."""
    reading = read_rows(measured)
    calibration = calibration_of(reading.certainty) if reading and reading.certainty else None
    return {**measured.evaluation.metrics, **({ERROR: calibration.error} if calibration else {})}


def findings_of(measured: Measured) -> Findings:
    """Read a model's outputs; a task without a reader has its figures only."""
    return findings_in(measured, read_rows(measured))


def findings_in(measured: Measured, reading: Reading | None) -> Findings:
    """Return the same from what a reader has found."""
    if reading is None:
        return Findings(name=measured.name, evaluation=measured.evaluation, intervals={}, span_errors=[], worst=[],
                        n_wrong=0)
    n_rows = len(reading.rows)
    figures: Mapping[str, Figure] = reading.figures
    if reading.certainty:
        figures = {**figures, ERROR: calibration_figure(reading.certainty, n_rows)}
    wrong = sorted((row for row in reading.rows if not row.is_right), key=lambda row: -row.weight)
    return Findings(
        name=measured.name, evaluation=measured.evaluation, intervals=intervals(figures, n_rows),
        calibration=calibration_of(reading.certainty) if reading.certainty else None,
        confusion=confusion_of(reading.choices) if reading.choices else None,
        span_errors=span_errors_of(reading.spans), worst=wrong[:N_WORST], n_wrong=len(wrong),
        has_right_rows=reading.has_right_rows)
