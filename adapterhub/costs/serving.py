"""Many tasks served: one base with adapters, whole models in one process, and a process for each; measured in turn.

Whole models are really loaded up to a number; past it their memory is drawn out as a straight line, and marked so.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapterhub.costs.turns import RunningArm, started
from adapterhub.progress import waiting

ADAPTERS = "one base with adapters"
ONE_PROCESS = "full models, one process"
PROCESSES = "full models, a process each"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedTasks:
    """One way to serve a number of tasks."""

    way: str
    n_tasks: int
    memory_bytes: int
    """Resident, of all processes together, pages that they share counted once (PSS)."""
    start_seconds: float
    """Until the last task can answer; libraries' imports not counted."""
    rows_per_s: float | None
    """Rows of mixed tasks answered, 32 at a time where one pass can take them; None where extrapolated."""
    swap_seconds: float | None
    """Until another task's weights can answer in the place of one; None where extrapolated."""
    is_extrapolated: bool


def measure_serving(base: str, folder: Path, counts: tuple[int, ...], most_models: int) -> list[ServedTasks]:
    """Serve 1, 4, ... tasks each way, on one adapter folder under many names. Raises TrainingError where one fails."""
    served = []
    for n in counts:
        with waiting(f"serving {n} tasks as adapters"):
            served.append(_measured(ADAPTERS, base, folder, "adapters", n, n_processes=1))
    for way, in_one in ((ONE_PROCESS, True), (PROCESSES, False)):
        own: list[ServedTasks] = []
        for n in counts:
            if n <= most_models:
                with waiting(f"serving {n} tasks as {way}"):
                    own.append(_measured(way, base, folder, "models", n, n_processes=1 if in_one else n))
            else:
                own.append(drawn_out(own, way, n))
        served += own
    return served


def _measured(way: str, base: str, folder: Path, kind: str, n_tasks: int, *, n_processes: int) -> ServedTasks:
    given = {"kind": kind, "base": base, "folder": str(folder), "n_tasks": n_tasks // n_processes}
    with ExitStack() as stack:
        running = [stack.enter_context(started("adapterhub.costs.serving_process", given, way, folder))
                   for _ in range(n_processes)]
        told = [_told(process, "ready") for process in running]
        memory_bytes = sum(_told(process, "memory")["memory_bytes"] for process in running)
        for process in running:
            process.say("")
        answers = [_told(process, "answered", asks=False) for process in running]
        swaps = [_told(process, "swapped")["seconds"] for process in running[:1]]
    return ServedTasks(way=way, n_tasks=n_tasks, memory_bytes=memory_bytes, is_extrapolated=False,
                       start_seconds=sum(one["seconds"] for one in told), swap_seconds=swaps[0],
                       rows_per_s=sum(one["rows_per_s"] for one in answers))


def _told(process: RunningArm, what: str, *, asks: bool = True) -> dict[str, Any]:
    if asks and what != "ready":
        process.say("")
    answer = process.listen()
    assert what in answer, f"{answer} where {what} was expected"
    found: dict[str, Any] = answer[what]
    return found


def drawn_out(measured: list[ServedTasks], way: str, n_tasks: int) -> ServedTasks:
    """Draw the line through the fewest and the most models that were really loaded."""
    real = [one for one in measured if not one.is_extrapolated]
    low, high = real[0], real[-1]
    span = max(1, high.n_tasks - low.n_tasks)

    def at(name: str) -> float:
        first, last = float(getattr(low, name)), float(getattr(high, name))
        return first + (last - first) / span * (n_tasks - low.n_tasks)
    return ServedTasks(way=way, n_tasks=n_tasks, memory_bytes=int(at("memory_bytes")),
                       start_seconds=at("start_seconds"), rows_per_s=None, swap_seconds=None, is_extrapolated=True)
