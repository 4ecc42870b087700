"""How long a step of each arm takes: in rounds, step by step in turn with the yardstick's on the same rows.

The runs that show quality come hours apart. On a machine that others use too, times of two such runs differed by a
third for no reason of the arms' own.
"""

import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from adapterhub.bases.load import load_base
from adapterhub.costs.compare import arm_settings, with_drawn_rows
from adapterhub.costs.machine import describe_machine
from adapterhub.costs.results import Result, ResultsFolder
from adapterhub.costs.suites import Suite
from adapterhub.costs.turns import ArmSettings, in_turn, started_arm
from adapterhub.progress import ShowProgress, progress_bar, waiting
from adapterhub.settings import Settings

YARDSTICK = "full"
"""The arm in every round; the first where it is not compared."""
WARM_UPS, TIMED_STEPS = 5, 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """One arm's step."""

    step_seconds: float
    """By the clock."""
    step_processor_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Paces:
    """All arms' steps of one task, and where they were taken."""

    arms: dict[str, Pace]
    n_steps: int
    """That were timed of each."""
    machine: dict[str, Any]

    @property
    def processor(self) -> str:
        """The machine's."""
        return str(self.machine.get("processor", ""))


def time_arms(suite: Suite, results: Sequence[Result], place: Path, settings: Settings,
              show: ShowProgress = progress_bar) -> dict[str, Paces]:
    """Return each task's paces, of all arms with a result; what is in `place` is not measured again.

    A comparison whose arms all ran in one round has no need of another, and gets none. Raises as `measure_paces`.
    """
    found = paces_of(suite, place)
    with TemporaryDirectory() as rows:
        for task in suite.tasks:
            rates = {one.figures.arm: one.figures.learning_rate for one in results
                     if one.task == task.name and one.figures.method != "bare"}
            is_one_round = not suite.is_tuned and len(rates) <= suite.n_at_once
            if is_one_round or (task.name in found and rates.keys() <= found[task.name].arms.keys()):
                continue
            drawn, base = with_drawn_rows(task, Path(rows)), load_base(task.base, cache=settings.cache)
            arms = {arm.name: arm_settings(drawn, arm, rates[arm.name], suite.seeds[0], base)
                    for arm in suite.arms if arm.name in rates}
            if paces := measure_paces(arms, suite.n_at_once, Path(rows) / f"{task.name}-steps", show):
                found[task.name] = paces
                ResultsFolder(place).note(f"{task.name}/paces", asdict(paces))
    return found


def paces_of(suite: Suite, place: Path) -> dict[str, Paces]:
    """Return the paces of a suite's tasks that were measured."""
    noted = {task.name: ResultsFolder(place).noted(f"{task.name}/paces") for task in suite.tasks}
    return {name: Paces(**{**plain, "arms": {arm: Pace(**pace) for arm, pace in plain["arms"].items()}})
            for name, plain in noted.items() if plain}


def measure_paces(arms: Mapping[str, ArmSettings], n_at_once: int, work: Path, show: ShowProgress) -> Paces | None:
    """Take some steps of each arm, at most `n_at_once` of them in turn; None where a run has too few steps.

    Raises TrainingError as `turns.run_arms`.
    """
    yardstick, *others = sorted(arms, key=lambda name: name != YARDSTICK)
    size = max(1, n_at_once - 1)
    groups = [others[i:i + size] for i in range(0, len(others), size)] or [[]]
    paces: dict[str, Pace] = {}
    n_timed = 0
    for group in groups:
        taken = _round({name: arms[name] for name in (yardstick, *group)}, work, show)
        n_timed = min(map(len, taken.values()))
        if not n_timed:
            return None
        paces.setdefault(yardstick, Pace(**{kind: statistics.median(one[kind] for one in taken[yardstick])
                                            for kind in Pace.__slots__}))
        for name in group:
            paces[name] = Pace(**{kind: getattr(paces[yardstick], kind) * statistics.median(
                own[kind] / measure[kind] for own, measure in zip(taken[name], taken[yardstick], strict=True))
                for kind in Pace.__slots__})
    return Paces(arms=paces, n_steps=n_timed, machine=describe_machine())


def at_pace(results: Sequence[Result], paces: Mapping[str, Paces]) -> list[Result]:
    """Return results with the times that their steps would have at their tasks' paces."""
    return [_at_pace(result, paces[result.task].arms[result.figures.arm])
            if result.task in paces and result.figures.arm in paces[result.task].arms else result
            for result in results]


def _round(arms: Mapping[str, ArmSettings], work: Path, show: ShowProgress) -> dict[str, list[dict[str, float]]]:
    """Return what each arm's steps took, those that warm it up left out, by kind of seconds."""
    with ExitStack() as stack:
        running = [stack.enter_context(started_arm(replace(settings, name=name, is_timed=True, is_validated=False),
                                                     work / name)) for name, settings in arms.items()]
        with waiting("starting a process for each arm"):
            n_steps = min(int(arm.listen()["n_steps"]) for arm in running)
        n_wanted = min(n_steps - 1, WARM_UPS + TIMED_STEPS)  # the last would end the run and measure its quality
        progress = stack.enter_context(show("timing steps", n_wanted * len(running)))
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in arms}
        for n_done, arm in in_turn(running):
            if n_done > n_wanted * len(running):
                break
            progress.update(n_done, arm.name)
            taken[arm.name].append(arm.told["took"])
        return {name: steps[WARM_UPS:] for name, steps in taken.items()}


def _at_pace(result: Result, pace: Pace) -> Result:
    figures = result.figures
    by_clock = pace.step_seconds / figures.step_seconds
    by_processor = pace.step_processor_seconds / figures.step_processor_seconds
    curve = [replace(point, seconds=by_clock * point.seconds, processor_seconds=by_processor * point.processor_seconds)
             for point in figures.curve]
    return replace(result, figures=replace(
        figures, curve=curve, step_seconds=pace.step_seconds, step_processor_seconds=pace.step_processor_seconds,
        train_seconds=by_clock * figures.train_seconds))
