"""A picture of a benchmark's figures: one panel for each unit, spread as a bar, the target as a line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import Figure

_MET, _MISSED, _PLAIN = "tab:green", "tab:red", "tab:blue"
_TARGET = "black"


def draw(title: str, figures: Sequence[Figure], file: Path) -> None:
    """Write a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    units = list(dict.fromkeys(figure.unit for figure in figures))
    members = [[figure for figure in figures if figure.unit == unit] for unit in units]
    canvas = Canvas(figsize=(9, 1.2 + 0.28 * len(figures) + 0.7 * len(units)), layout="constrained")
    FigureCanvasAgg(canvas)
    panels = canvas.subplots(len(units), 1, squeeze=False, height_ratios=[len(group) + 1 for group in members])
    canvas.suptitle(title, fontsize=10)
    for panel, unit, group in zip(panels[:, 0], units, members, strict=True):
        _draw_panel(panel, unit, group)
    canvas.savefig(file, dpi=110)


def _draw_panel(axes: Any, unit: str, figures: Sequence[Figure]) -> None:
    for place, figure in enumerate(figures):
        colour = {True: _MET, False: _MISSED, None: _PLAIN}[figure.is_met]
        axes.barh(place, figure.value, color=colour, xerr=figure.spread, height=0.6)
        for limit in (figure.at_most, figure.at_least):
            if limit is not None:
                axes.plot([limit, limit], [place - 0.4, place + 0.4], color=_TARGET)
    axes.set_yticks(range(len(figures)), [figure.name for figure in figures], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel(unit, fontsize=8)
    axes.tick_params(axis="x", labelsize=7)
    values = [abs(figure.value) for figure in figures if figure.value]
    if values and max(values) > 100 * min(values):
        axes.set_xscale("log")
