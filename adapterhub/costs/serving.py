"""Many tasks served: one base with adapters, whole models in one process, and a process for each; measured in turn.

Whole models are really loaded up to a number; past it their memory is drawn out as a straight line, and marked so.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from adapterhub.costs.turns import RunningArm, started
from adapterhub.progress import waiting

SECONDS = 3.0
ADAPTERS = "one base with adapters"
ONE_PROCESS = "full models, one process"
PROCESSES = "full models, a process each"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedTasks:
    """One way to serve a number of tasks."""

    way: str
    n_tasks: int
    memory_bytes: int
    """Resident, of all processes together, pages that they share counted once."""
    start_seconds: float
    """Until the last task can answer; libraries' imports not counted."""
    rows_per_s: float | None
    """Rows of mixed tasks answered, 32 at a time where one pass can take them; None where extrapolated."""
    swap_seconds: float | None
    """Until another task's weights can answer in the place of one; None where extrapolated."""
    is_extrapolated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """What one process has in memory."""

    own_bytes: int
    """Of pages that are its own."""
    shared_bytes: int
    """Of pages that others have too: code, above all."""


def measure_serving(base: str, folder: Path, counts: Sequence[int], most_models: int,
                    seconds: float = SECONDS) -> list[ServedTasks]:
    """Serve 1, 4, ... tasks each way, on one adapter folder under many names, each for `seconds`.

    Every process imports its libraries before anything is measured, and holds more and more tasks. Raises TrainingError
    where one fails.
    """
    loaded = {way: [n for n in sorted(counts) if way == ADAPTERS or n <= most_models]
              for way in (ADAPTERS, ONE_PROCESS, PROCESSES)}
    with ExitStack() as stack:
        processes = {way: [stack.enter_context(started("adapterhub.costs.serving_process", {
            "kind": "adapters" if way == ADAPTERS else "models", "base": base, "folder": str(folder)}, way, folder))
            for _ in range(max(ns, default=0) if way == PROCESSES else 1)] for way, ns in loaded.items()}
        with waiting("starting what serves"):
            for process in chain.from_iterable(processes.values()):
                process.listen()
        served = []
        for way, ns in loaded.items():
            own: list[ServedTasks] = []
            for n in ns:
                with waiting(f"serving {n} tasks as {way}"):
                    own.append(_measured(way, processes[way], n, seconds, own))
            served += [*own, *(drawn_out(own, way, n) for n in sorted(counts) if n not in ns)]
    return served


def _measured(way: str, processes: Sequence[RunningArm], n_tasks: int, seconds: float,
              before: Sequence[ServedTasks]) -> ServedTasks:
    """Measure one number of tasks, where those of `before` are held already."""
    if way == PROCESSES:
        newly = [(process, 1) for process in processes[before[-1].n_tasks if before else 0:n_tasks]]
    else:
        newly = [(processes[0], n_tasks)]
    start_seconds = sum(_told(process, {"do": "hold", "n_tasks": n})["seconds"] for process, n in newly)
    holding = processes[:n_tasks]
    memory = [Resident(**_told(process, {"do": "memory"})) for process in holding]
    for process in holding:  # all at once
        process.say(json.dumps({"do": "answer", "seconds": seconds}))
    answers = [process.listen() for process in holding]
    return ServedTasks(way=way, n_tasks=n_tasks, memory_bytes=together(memory), is_extrapolated=False,
                       start_seconds=start_seconds + (before[-1].start_seconds if before else 0.0),
                       swap_seconds=_told(holding[0], {"do": "swap"})["seconds"],
                       rows_per_s=sum(one["rows_per_s"] for one in answers))


def _told(process: RunningArm, asked: dict[str, Any]) -> dict[str, Any]:
    process.say(json.dumps(asked))
    return process.listen()


def together(memory: Sequence[Resident]) -> int:
    """Return what processes have resident together: pages that they share once, whoever else shares them."""
    return sum(one.own_bytes for one in memory) + max(one.shared_bytes for one in memory)


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
