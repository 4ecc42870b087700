"""Whether the default adapter answers as well as full fine-tuning, on the four public data sets of the suite text.

Each arm has its own best learning rate, found on validation rows with the first seed, and is then trained with five
seeds. All learn the same drawn rows, and are measured on every test row. A full run goes on from what `results/text/`
holds, where `adapterhub compare --suite text` keeps its results too.
"""

from dataclasses import replace

from adapterhub.costs.arms import find_arm
from adapterhub.costs.compare import run_comparison
from adapterhub.costs.results import Result, of_task
from adapterhub.costs.suites import text_suite
from adapterhub.costs.summary import mean_of
from adapterhub.settings import Settings
from adapterhub.tasks.table import find_task
from benchmarks.adapters_made import scratch_folder
from benchmarks.report import RESULTS, Figure, Options, run

ARMS = ("full", "lora-r8")
SEEDS = (0, 1, 2, 3, 4)
QUICK_ROWS, QUICK_EPOCHS = 600, 4
NOISE_POINTS = -0.5
"""How far below full fine-tuning an adapter may lie, and only where the interval of the difference spans zero."""


def measure(options: Options) -> list[Figure]:
    """Train the arms on each data set, and hold the adapters to full fine-tuning."""
    settings = Settings.from_environment()
    suite = replace(text_suite(settings), arms=tuple(map(find_arm, ARMS)), seeds=SEEDS, n_at_once=len(ARMS),
                    grid_batches=(), served="")
    if options.is_quick:
        task = replace(suite.tasks[0], n_rows=QUICK_ROWS, epochs=QUICK_EPOCHS)
        suite = replace(suite, tasks=(task,), seeds=(options.seed,), is_tuned=False)
    with scratch_folder() as place:
        results = run_comparison(suite, place / "results" if options.is_quick else RESULTS / "text", settings)
    return [figure for task in suite.tasks for figure in figures_of(results, task.name)]


def figures_of(results: list[Result], task: str) -> list[Figure]:
    """Return each arm's test metric on a task in points, and how far each adapter lies from full fine-tuning."""
    found = of_task(results, task)
    metric = find_task(found["full"][0].settings["task"]).metrics[0]
    values = {arm: [100 * one.figures.metrics[metric] for one in ones] for arm, ones in found.items()}
    figures = []
    for arm in (arm for arm in ARMS if arm in values):
        mean = mean_of(values[arm])
        figures.append(Figure(name=f"{task}, {arm}: test {metric}", value=mean.value, unit="points", n_runs=mean.n,
                              spread=mean.half_width, note=f"at rate {found[arm][0].figures.learning_rate:g}"))
    for arm in (arm for arm in ARMS[1:] if arm in values):
        mean = mean_of([ours - theirs for ours, theirs in zip(values[arm], values["full"], strict=True)])
        is_chance = mean.half_width is not None and abs(mean.value) <= mean.half_width
        figures.append(Figure(name=f"{task}, {arm} less full", value=mean.value, unit="points", n_runs=mean.n,
                              spread=mean.half_width, at_least=None if mean.half_width is None else
                              NOISE_POINTS if is_chance else 0.0,
                              note="seed by seed; spread: half the 95 % interval"))
    return figures


if __name__ == "__main__":
    run("quality", measure)
