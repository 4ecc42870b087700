"""A comparison from its suite to its report: arms, sizes of step, serving, words and pictures."""

from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from adapterhub.costs.compare import grid_of, run_comparison
from adapterhub.costs.paces import at_pace, paces_of, time_arms
from adapterhub.costs.report import Compared, write_report
from adapterhub.costs.results import Result, ResultsFolder
from adapterhub.costs.serving import ServedTasks, measure_serving
from adapterhub.costs.suites import Suite
from adapterhub.costs.summary import ArmSummary, summarise
from adapterhub.costs.words import when_to_use_which
from adapterhub.errors import DataError
from adapterhub.progress import ShowProgress, progress_bar
from adapterhub.registry import open_registries
from adapterhub.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A comparison that was run and written down."""

    compared: Compared
    page: Path
    """The report as HTML; the Markdown lies beside it."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {"suite": self.compared.suite, "page": str(self.page),
                "tasks": {task: [asdict(arm) for arm in summarise(self.compared.results, task)]
                          for task in self.compared.tasks},
                "grid": [asdict(cell) for cell in self.compared.grid],
                "served": [asdict(one) for one in self.compared.served]}

    def tables(self) -> dict[str, list[tuple[object, ...]]]:
        """Return a few columns for each task, for a terminal."""
        return {task: [_columns(arm) for arm in summarise(self.compared.results, task)]
                for task in self.compared.tasks}

    def paragraphs(self) -> list[str]:
        """Return each task's figures in words."""
        return [when_to_use_which(task, summarise(self.compared.results, task)) for task in self.compared.tasks]


def _columns(arm: ArmSummary) -> tuple[object, ...]:
    """Return an arm's few columns, those of costs empty where nothing was trained."""
    costs = (f"{arm.disk_bytes / 1e6:.2f}", f"{arm.peak_memory_bytes / 1e6:.0f}", f"{1e3 * arm.step_seconds:.0f}")
    return arm.title, f"{arm.metric} {arm.quality}", *(costs if arm.trained_parameters else ("", "", ""))


def compare_and_report(suite: Suite, place: Path, settings: Settings, *, price_per_hour: float | None = None,
                       is_run: bool = True, show: ShowProgress = progress_bar) -> Written:
    """Run what is missing of a comparison, and write its report into `place`.

    With `is_run` false nothing is run, and the report is of what is there. Raises as `run_comparison`; DataError where
    nothing is there then.
    """
    folder = ResultsFolder(place)
    results = run_comparison(suite, place, settings, show) if is_run else _results_there(suite, folder)
    paces = time_arms(suite, results, place, settings, show) if is_run else paces_of(suite, place)
    served = [ServedTasks(**one) for one in folder.noted("served") or []]
    if not served and suite.served and is_run:
        served = _serve(suite, settings)
        folder.note("served", [asdict(one) for one in served])
    compared = Compared(suite=suite.name, results=at_pace(results, paces), paces=paces, grid=grid_of(place),
                        served=served, price_per_hour=price_per_hour,
                        left_out={task.name: folder.noted(f"{task.name}/left-out") or {} for task in suite.tasks})
    written = Written(compared=compared, page=write_report(compared, place))
    folder.note("summary", {**written.to_dict(), "page": written.page.name})
    return written


def _results_there(suite: Suite, folder: ResultsFolder) -> list[Result]:
    order = {task.name: place for place, task in enumerate(suite.tasks)}
    results = [result for result in folder.read_all() if result.task in order]
    if not results:
        raise DataError(f"{folder.path} has no result of this comparison yet.",
                        hint="Leave out --report-only, or give the --output that it was run with.")
    return sorted(results, key=lambda result: order[result.task])


def _serve(suite: Suite, settings: Settings) -> list[ServedTasks]:
    """Serve a shipped adapter under as many names as the suite says."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "adapter"
        open_registries(settings).pull(suite.served, folder)
        return measure_serving(suite.tasks[0].base, folder, suite.task_counts, suite.most_models)
