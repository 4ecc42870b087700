"""The pictures of a comparison, by matplotlib: parts of memory, sizes of step, quality against bytes, tasks, curves."""

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from adapterhub.costs.grid import GridCell
from adapterhub.costs.serving import ServedTasks
from adapterhub.costs.summary import ArmSummary

PARTS = ("weights", "gradients", "optimizer", "activations")
_MB = 1e6


def memory_picture(title: str, arms: Sequence[ArmSummary]) -> bytes:
    """Draw each arm's memory: what was counted, stacked by part, and the measured peak beside it."""
    shown = [arm for arm in arms if arm.parts]

    def draw(axes: Any) -> None:
        places = range(len(shown))
        left = [0.0] * len(shown)
        for part in PARTS:
            values = [getattr(arm.parts, part) / _MB for arm in shown]
            axes.barh(places, values, left=left, label=part, height=0.6)
            left = [before + value for before, value in zip(left, values, strict=True)]
        axes.plot([arm.peak_memory_bytes / _MB for arm in shown], list(places), "k|", markersize=18,
                  label="measured peak above the start")
        axes.set_yticks(list(places), [arm.title for arm in shown])
        axes.invert_yaxis()
        axes.set_xlabel("MB")
        axes.legend(fontsize=7)
    return _picture(title, draw, height=1.4 + 0.4 * len(shown))


def grid_picture(title: str, cells: Sequence[GridCell], what: str) -> bytes:
    """Draw `peak_memory_bytes` or `step_seconds` over batch x length, measured (dots) and estimated (lines)."""
    estimate, scale, unit = (("estimated_memory_bytes", _MB, "MB") if what == "peak_memory_bytes" else
                             ("estimated_seconds", 1e-3, "ms"))

    def draw(axes: Any) -> None:
        for arm in dict.fromkeys(cell.arm for cell in cells):
            own = sorted((cell for cell in cells if cell.arm == arm), key=lambda cell: cell.batch_size * cell.length)
            sizes = [cell.batch_size * cell.length for cell in own]
            line, = axes.plot(sizes, [getattr(cell, estimate) / scale for cell in own], label=arm)
            axes.plot(sizes, [getattr(cell, what) / scale for cell in own], "o", color=line.get_color())
        axes.set_xscale("log")
        axes.set_xlabel("rows x tokens of a step")
        axes.set_ylabel(f"{unit}: dots measured, lines estimated")
        axes.legend(fontsize=7)
    return _picture(title, draw)


def pareto_picture(title: str, arms: Sequence[ArmSummary]) -> bytes:
    """Draw quality against bytes on disk."""
    def draw(axes: Any) -> None:
        for arm in arms:
            if arm.disk_bytes:
                axes.errorbar(arm.disk_bytes / _MB, arm.quality.value, yerr=arm.quality.half_width, fmt="o", capsize=3)
                axes.annotate(arm.title, (arm.disk_bytes / _MB, arm.quality.value), fontsize=7,
                              xytext=(4, 4), textcoords="offset points")
        axes.set_xscale("log")
        axes.set_xlabel("MB on disk for one task")
        axes.set_ylabel(f"test {arms[0].metric}" if arms else "")
    return _picture(title, draw)


def curves_picture(title: str, arms: Sequence[ArmSummary]) -> bytes:
    """Draw the validation metric over the seconds of training, a line for each seed."""
    def draw(axes: Any) -> None:
        for number, arm in enumerate(arms):
            for place, curve in enumerate(arm.curves):
                if curve:
                    axes.plot(*zip(*curve, strict=True), marker=".", color=f"C{number % 10}",
                              label=None if place else arm.title)
        axes.set_xlabel("seconds of steps")
        axes.set_ylabel(f"validation {arms[0].metric}" if arms else "")
        axes.legend(fontsize=7)
    return _picture(title, draw)


def tasks_picture(title: str, served: Sequence[ServedTasks]) -> bytes:
    """Draw memory over the number of tasks, one line for each way to serve them; hollow where it is extrapolated."""
    def draw(axes: Any) -> None:
        for way in dict.fromkeys(one.way for one in served):
            own = [one for one in served if one.way == way]
            line, = axes.plot([one.n_tasks for one in own], [one.memory_bytes / _MB for one in own], label=way)
            for one in own:
                axes.plot(one.n_tasks, one.memory_bytes / _MB, "o", color=line.get_color(),
                          markerfacecolor="white" if one.is_extrapolated else line.get_color())
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("tasks served")
        axes.set_ylabel("resident MB; hollow: extrapolated")
        axes.legend(fontsize=7)
    return _picture(title, draw)


def _picture(title: str, draw: Callable[[Any], None], *, height: float = 4.0) -> bytes:
    canvas = Figure(figsize=(8, height), layout="constrained")
    FigureCanvasAgg(canvas)
    axes = canvas.subplots()
    axes.set_title(title, fontsize=10)
    draw(axes)
    data = BytesIO()
    canvas.savefig(data, dpi=100, format="png")
    return data.getvalue()
