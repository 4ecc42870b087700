"""A comparison from its suite to its results: each arm tuned, then run with every seed, what is done already left out.

Each arm's figures are on the disk as soon as they are there, so that a comparison that was stopped goes on.
"""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from adapterhub.adapter.directions import is_better
from adapterhub.bases.load import Base, load_base
from adapterhub.costs.arms import Arm, rates_on, settings_on
from adapterhub.costs.drawn import drawn_rows
from adapterhub.costs.estimate import require_room
from adapterhub.costs.figures import ArmFigures
from adapterhub.costs.grid import GridCell, measure_grid
from adapterhub.costs.results import Result, ResultsFolder
from adapterhub.costs.shadow import StepCount, StepShape, count_step
from adapterhub.costs.suites import ComparedTask, Suite
from adapterhub.costs.turns import ArmSettings, run_arms
from adapterhub.data.split import SplitPlan, read_splits
from adapterhub.errors import DataError, InvalidConfig
from adapterhub.progress import ShowProgress, progress_bar, waiting
from adapterhub.settings import Settings
from adapterhub.tasks.table import find_task
from adapterhub.tasks.task import Task
from adapterhub.training.config import TrainConfig
from adapterhub.training.preset import with_preset

LEAST_TEST_ROWS = 20
SEARCH_SEED = 0
MOST_RATES = 5
"""Learning rates that an arm tries at most."""
CHECKPOINT_FIGURES = 2
"""AdamW keeps two numbers for each one that it trains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Survey:
    """A task's rows, looked at once."""

    base: Base
    task: Task
    n_labels: int
    longest: int
    """Tokens of the longest training sequence."""
    n_sequences: int


def run_comparison(suite: Suite, place: Path, settings: Settings, show: ShowProgress = progress_bar) -> list[Result]:
    """Run what is missing of a suite's results in `place`, and return all of them.

    Raises DataError for rows too few to tell arms apart, TrainingError where an arm does not fit into memory, which is
    known before it is loaded, or fails.
    """
    folder, results = ResultsFolder(place), []
    with TemporaryDirectory() as rows:
        for task in suite.tasks:
            results += _run_task(suite, with_drawn_rows(task, Path(rows)), folder, settings, show)
    if suite.grid_batches and folder.noted("grid") is None:
        bases = suite.grid_bases or (suite.tasks[0].base,)
        cells = [cell for base in bases for cell in measure_grid(suite, base, settings, show)]
        folder.note("grid", [asdict(cell) for cell in cells])
    return results


def _run_task(suite: Suite, task: ComparedTask, folder: ResultsFolder, settings: Settings,
              show: ShowProgress) -> list[Result]:
    with waiting(f"reading {task.name}"):
        survey = survey_rows(task, settings)
    chosen = [arm for arm in suite.arms if not task.arms or arm.name in task.arms]
    counts, left_out = _counted(chosen, task, survey)
    folder.note(f"{task.name}/left-out", left_out)
    arms = [arm for arm in chosen if arm.name not in left_out]
    rates = {arm.name: rates_on(arm, task.task)[0] for arm in arms}
    for name, found in (tuned(suite, task, arms, survey, folder, show) if suite.is_tuned else {}).items():
        rates[name] = found.figures.learning_rate
        if SEARCH_SEED in suite.seeds and folder.read(task.name, name, SEARCH_SEED, found.settings) is None:
            folder.keep(task, _with_count(found.figures, counts.get(name)), found.settings)
    rates.update({arm.name: rates[arm.rate_of] for arm in arms if arm.rate_of in rates})
    return [result for seed in suite.seeds
            for result in _run_seed(suite, task, arms, rates, seed, survey, counts, folder, show)]


def with_drawn_rows(task: ComparedTask, place: Path) -> ComparedTask:
    """Return a task on as few rows as it says, drawn into `place`."""
    if task.n_rows is None:
        return task
    return replace(task, data=str(drawn_rows(Path(task.data), task.n_rows, place)))


def arm_settings(task: ComparedTask, arm: Arm, rate: float, seed: int, base: Base) -> ArmSettings:
    """Return what an arm trains on a task. Raises as `settings_on`."""
    more: dict[str, Any] = {} if arm.method == "bare" else {"patience": max(1, task.epochs), **settings_on(arm, base)}
    return ArmSettings(name=arm.name, method=arm.method, task=task.task, data=Path(task.data), base=task.base,
                       epochs=task.epochs, batch_size=task.batch_size, max_length=task.max_length, learning_rate=rate,
                       seed=seed, is_validated=True, more=more, keeps_result=False)


def grid_of(place: Path) -> list[GridCell]:
    """Return the grid that was measured, empty where none was."""
    return [GridCell(**cell) for cell in ResultsFolder(place).noted("grid") or []]


def survey_rows(task: ComparedTask, settings: Settings) -> _Survey:
    """Read a task's rows and look at them. Raises DataError where there are too few."""
    kind = find_task(task.task)
    config = TrainConfig(task=task.task, data=task.data, output=Path("nowhere"))
    splits = read_splits(task.data, columns=kind.columns, given={}, plan=SplitPlan(
        fractions=config.fractions, seed=0, stratify_by=kind.stratify_by))
    if len(splits.test) < LEAST_TEST_ROWS or len(splits.train) < task.batch_size:
        raise DataError(f"{task.data} has {len(splits.train)} training and {len(splits.test)} test rows; arms cannot "
                        f"be told apart with fewer than {task.batch_size} and {LEAST_TEST_ROWS}.",
                        hint="Give more rows; adapters pay from a few hundred on.")
    base = load_base(task.base, cache=settings.cache)
    labels = kind.labels_of(splits.train)
    examples = kind.lessons(kind.encode(splits.train, base.tokenizer, labels, task.max_length))
    return _Survey(base=base, task=kind, n_labels=max(1, len(labels)),
                   longest=max(len(sequence.input_ids) for example in examples for sequence in example.sequences),
                   n_sequences=max(len(example.sequences) for example in examples))


def tuned(suite: Suite, task: ComparedTask, arms: Sequence[Arm], survey: _Survey, folder: ResultsFolder,
          show: ShowProgress) -> dict[str, Result]:
    """Return the run of each arm that has several rates whose validation metric was best.

    Where the best is the highest or the lowest that was tried, twice or half of it is tried too, and so on. What is
    there already is not run again. The runs are whole ones with the first seed, so the best need not be repeated for
    it.
    """
    searched, metric = ResultsFolder(folder.path / "search"), survey.task.metrics[0]
    asking = {arm.name: list(rates_on(arm, task.task)) for arm in arms if len(arm.rates) > 1 and not arm.rate_of}
    tried: dict[str, list[Result]] = {name: [] for name in asking}
    for place in range(MOST_RATES):
        rates = {name: asked[place] for name, asked in asking.items() if place < len(asked)}
        chosen = [arm for arm in arms if arm.name in rates]
        for result in _run_seed(suite, replace(task, name=f"{task.name}-{place}"), chosen, rates, SEARCH_SEED, survey,
                                {}, searched, show):
            tried[result.figures.arm].append(result)
        for name, asked in asking.items():
            if place + 1 == len(asked) and (further := _further(best_of(tried[name], metric), asked)):
                asked.append(further)
    return {name: best_of(results, metric) for name, results in tried.items()}


def best_of(results: Sequence[Result], metric: str) -> Result:
    """Return the result whose best validation metric is best, the first of equals."""
    def best_value(result: Result) -> float:
        return max((point.metrics.get(metric, float("-inf")) for point in result.figures.curve), default=float("-inf"))

    best = results[0]
    for result in results[1:]:
        if is_better(metric, best_value(result), best_value(best)):
            best = result
    return best


def _further(best: Result, asked: Sequence[float]) -> float | None:
    """Return the rate to try beyond those tried, where the best is at their edge."""
    rate = best.figures.learning_rate
    if rate == max(asked):
        return 2 * rate
    return rate / 2 if rate == min(asked) else None


def _run_seed(suite: Suite, task: ComparedTask, arms: Sequence[Arm], rates: dict[str, float], seed: int,
              survey: _Survey, counts: dict[str, StepCount], folder: ResultsFolder,
              show: ShowProgress) -> list[Result]:
    wanted = {arm.name: arm_settings(task, arm, rates[arm.name], seed, survey.base) for arm in arms}
    plain = {name: _plain(settings, task.base_name) for name, settings in wanted.items()}
    there = {name: folder.read(task.name, name, seed, plain[name]) for name in wanted}
    missing = iter([name for name, result in there.items() if result is None])
    while group := list(islice(missing, suite.n_at_once)):
        work = folder.path / ".work"

        def ended(output: Path, figures: ArmFigures) -> None:
            figures = _with_count(figures, counts.get(figures.arm))
            there[figures.arm] = folder.keep(task, figures, plain[figures.arm])

        try:
            run_arms({work / f"{task.name}-{name}-{seed}": wanted[name] for name in group}, show, ended=ended)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return [result for result in there.values() if result is not None]


def _counted(arms: Sequence[Arm], task: ComparedTask, survey: _Survey) -> tuple[dict[str, StepCount], dict[str, str]]:
    """Count each arm's step ahead; return the counts, and why some arms are left out.

    Raises TrainingError where one does not fit into memory.
    """
    counts, left_out = {}, {}
    shape = StepShape(batch_size=task.batch_size, length=survey.longest, n_labels=survey.n_labels,
                      n_sequences=survey.n_sequences)
    for arm in arms:
        if arm.method == "bare":
            if not survey.task.writes and survey.task.auto_class.__name__ != "AutoModel":
                left_out[arm.name] = f"The bare base cannot answer {task.task}: its head would be random."
            continue
        try:
            config = with_preset(TrainConfig(task=task.task, data=task.data, output=Path("nowhere"),
                                             method=arm.method, max_length=task.max_length,
                                             **settings_on(arm, survey.base)),
                                 int(survey.base.config.num_hidden_layers))
            counts[arm.name] = count_step(config, survey.base, survey.task, shape)
        except InvalidConfig as error:
            left_out[arm.name] = str(error)
            continue
        require_room(f"{arm.title} on {task.name}", counts[arm.name])
    return counts, left_out


def _with_count(figures: ArmFigures, count: StepCount | None) -> ArmFigures:
    if count is None:
        return figures
    tensors_bytes = 4 * count.trained_parameters
    parts = replace(count.parts, checkpoint=(1 + CHECKPOINT_FIGURES) * tensors_bytes)
    is_head_alone = figures.method == "full" and figures.trained_parameters < count.total_parameters // 50
    return replace(figures, parts=parts, total_parameters=count.total_parameters,
                   disk_bytes=tensors_bytes if is_head_alone else figures.disk_bytes)


def _plain(settings: ArmSettings, base_name: str) -> dict[str, Any]:
    """Return what decides an arm's figures, as plain values, without where the rows lie on this machine."""
    more = {name: value for name, value in settings.more.items() if name != "patience"}
    return {"method": settings.method, "task": settings.task, "data": settings.data.name, "base": base_name,
            "epochs": settings.epochs, "batch_size": settings.batch_size, "max_length": settings.max_length,
            "learning_rate": settings.learning_rate, "seed": settings.seed, **more}
