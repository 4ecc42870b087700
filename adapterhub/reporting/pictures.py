"""Pictures of a report, drawn by matplotlib as SVG; None where it is not installed."""

import importlib.util
import io
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from adapterhub.reporting.calibration import Calibration
from adapterhub.reporting.confusion import Confusion
from adapterhub.reporting.curve import Curve
from adapterhub.reporting.intervals import Interval
from adapterhub.reporting.section import Picture

EXTRA = "report"
BLUE, ORANGE, GREY = "tab:blue", "tab:orange", "0.6"
_MOST_NAMED = 60
"""Labels of a matrix that still can be read along its sides."""
_LONGEST_NAME = 48


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def draw_reliability(calibration: Calibration) -> Picture | None:
    """Draw how often decisions of each confidence were right."""
    def paint(axes: Any) -> None:
        bins = calibration.bins
        axes.plot([0, 1], [0, 1], color=GREY, linestyle="--")
        axes.bar([(b.low + b.high) / 2 for b in bins], [b.right for b in bins], width=[b.high - b.low for b in bins],
                 color=BLUE, edgecolor="white")
        axes.plot([b.confidence for b in bins], [b.right for b in bins], color=ORANGE, marker="o", linestyle="none")
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share right")

    return draw("Reliability: share right by confidence; on the dashed line both agree", (4.2, 4.0), paint)


def draw_confusion(confusion: Confusion) -> Picture | None:
    """Draw the rows by right and answered label, as shares of each right label's rows."""
    n_labels = len(confusion.labels)

    def paint(axes: Any) -> None:
        shares = confusion.counts / np.maximum(confusion.counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set(xlabel="answered", ylabel="right")
        if n_labels <= _MOST_NAMED:
            names = [_short(label) for label in confusion.labels]
            axes.set_xticks(range(n_labels), names, rotation=90, fontsize=6)
            axes.set_yticks(range(n_labels), names, fontsize=6)

    side = min(10.0, 3.0 + 0.16 * n_labels)
    return draw("Confusion: the answered label of each right label's rows, darker where more", (side, side), paint)


def draw_curve(curve: Curve) -> Picture | None:
    """Draw loss and validation metric by epoch."""
    def paint(axes: Any) -> None:
        numbers = [epoch.number for epoch in curve.epochs]
        axes.plot(numbers, [epoch.loss for epoch in curve.epochs], color=GREY, marker=".")
        axes.set(xlabel="epoch", ylabel="training loss")
        axes.locator_params(axis="x", integer=True)
        measured = [(epoch.number, epoch.value) for epoch in curve.epochs if epoch.value is not None]
        if measured:
            twin = axes.twinx()
            twin.plot(*zip(*measured, strict=True), color=BLUE, marker="o")
            twin.set_ylabel(f"validation {curve.metric}", color=BLUE)
        axes.axvline(curve.best_epoch, color=ORANGE, linestyle=":")

    return draw("Learning curve: training loss in grey, validation in blue, the epoch that was kept dotted",
                    (6.0, 3.4), paint)


class Bar(NamedTuple):
    """One value with its interval, under its name."""

    name: str
    value: float
    interval: Interval


def draw_bars(title: str, bars: Sequence[Bar]) -> Picture | None:
    """Draw values with their intervals, one line each."""
    def paint(axes: Any) -> None:
        places = range(len(bars))
        axes.hlines(places, [bar.interval.low for bar in bars], [bar.interval.high for bar in bars], color=GREY,
                    linewidth=3)
        axes.plot([bar.value for bar in bars], places, color=BLUE, marker="o", linestyle="none")
        axes.set_yticks(places, [_short(bar.name) for bar in bars], fontsize=7)
        axes.set_ylim(len(bars) - 0.5, -0.5)
        if any(bar.interval.low < 0 for bar in bars):
            axes.axvline(0, color=ORANGE, linestyle=":")

    return draw(title, (7.0, 1.0 + 0.3 * len(bars)), paint)


def draw(alt: str, size: tuple[float, float], paint: Callable[[Any], None]) -> Picture | None:
    """Draw one picture of a size in inches: `paint` is given matplotlib's axes. None where it is not installed."""
    if not can_draw():
        return None
    # half a second: only where a page is written
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    with rc_context({"text.parse_math": False, "svg.hashsalt": "adapterhub"}):  # a label may hold a $; equal bytes
        canvas = Canvas(figsize=size, layout="constrained")
        FigureCanvasSVG(canvas)
        paint(canvas.subplots())
        buffer = io.BytesIO()
        canvas.savefig(buffer, format="svg", metadata={"Date": None})
    return Picture(alt=alt, svg=buffer.getvalue())


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]} ..."
