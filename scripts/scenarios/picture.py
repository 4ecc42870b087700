"""A stream as a picture, through matplotlib: negatives in the window, the surge, and where the alert was raised."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from adapterhub.errors import InvalidConfig
from scripts.scenarios.surges import Plan, rolling_counts

KINDS = (".svg", ".png")


def require_drawing(path: Path) -> None:
    """Raise InvalidConfig where a picture could not be drawn into `path`, before anything is computed for it."""
    if path.suffix.lower() not in KINDS:
        raise InvalidConfig(f"A picture cannot be {path.name!r}, expected {' or '.join(KINDS)}.",
                            hint="Give --plot sentiment.svg.")
    if not path.absolute().parent.is_dir():
        raise InvalidConfig(f"{path.parent} is no folder.", hint="Make it first, or name another place.")
    if importlib.util.find_spec("matplotlib") is None:
        raise InvalidConfig("matplotlib is not installed.", hint="pip install '.[report]', or leave out --plot.")


def draw_stream(path: Path, negatives: Sequence[bool], threshold: int, plan: Plan, alert: int | None) -> None:
    """Draw the rolling count of negatives with its threshold, and write the file."""
    from matplotlib.figure import Figure  # half a second: not where nothing is drawn

    counts = rolling_counts(negatives, plan.window)
    figure = Figure(figsize=(8.0, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(plan.surge.start, plan.surge.stop, color="0.9", label="surge")
    axes.plot(counts, color="tab:blue", label=f"negative, of the last {plan.window}")
    axes.axhline(threshold, color="0.5", linestyle="--", label="threshold")
    if alert is not None:
        axes.plot([alert], [counts[alert]], color="tab:red", marker="o", linestyle="none",
                  label="alert")
    axes.set(xlabel="headline", ylabel="negative headlines", xlim=(0, plan.n_headlines), ylim=(0, plan.window))
    axes.legend(loc="upper left", fontsize="small")
    figure.savefig(path)
