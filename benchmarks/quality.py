"""Whether the default adapter answers as well as full fine-tuning, on four public data sets.

Each arm has its own best of three learning rates, found on validation rows with the first seed, and is then trained
with three seeds. All learn the same drawn rows: a thousand or two, as most tasks have, and so few that four data sets
and five runs of each arm end in two hours. They are measured on every test row. A full run goes on from what
`results/quality/` holds.
"""

import gzip
import json
import random
from dataclasses import dataclass
from pathlib import Path

from adapterhub.costs.arms import find_arm
from adapterhub.costs.compare import run_comparison
from adapterhub.costs.results import Result, of_task
from adapterhub.costs.suites import ComparedTask, Suite
from adapterhub.costs.summary import mean_of
from adapterhub.settings import Settings
from adapterhub.tasks.table import find_task
from benchmarks.adapters_made import scratch_folder
from benchmarks.report import RESULTS, Figure, Options, run

ARMS = ("full", "lora-r8")
N_VALIDATION = 500
NOISE_POINTS = -0.5
"""How far below full fine-tuning an adapter may lie, and only where the interval of the difference spans zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """One data set, and how much of it is learned."""

    name: str
    task: str
    n_rows: int
    epochs: int
    batch_size: int = 32
    max_length: int = 128


DATA_SETS = (
    DataSet(name="banking77", task="text-classification", n_rows=2000, epochs=6),
    DataSet(name="sentfin", task="text-classification", n_rows=2000, epochs=4),
    DataSet(name="wnut17", task="token-classification", n_rows=1200, epochs=5, batch_size=16),
    DataSet(name="medquad", task="sentence-similarity", n_rows=800, epochs=2, max_length=64),
)
QUICK = DataSet(name="banking77", task="text-classification", n_rows=600, epochs=4)


def measure(options: Options) -> list[Figure]:
    """Train the arms on each data set, and hold the adapters to full fine-tuning."""
    settings = Settings.from_environment()
    if settings.data is None:
        raise SystemExit("The data folder is not there: set ADAPTERHUB_DATA.")
    with scratch_folder() as place:
        chosen, seeds = ((QUICK,), (options.seed,)) if options.is_quick else (DATA_SETS, (0, 1, 2))
        tasks = tuple(drawn_task(one, settings.data / "data" / one.name, place) for one in chosen)
        suite = Suite(name="quality", tasks=tasks, arms=tuple(map(find_arm, ARMS)), seeds=seeds,
                      is_tuned=not options.is_quick, n_at_once=1)
        results = run_comparison(suite, place / "results" if options.is_quick else RESULTS / "quality", settings)
    return [figure for task in tasks for figure in figures_of(results, task.name)]


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


def drawn_task(one: DataSet, source: Path, place: Path) -> ComparedTask:
    """Write the drawn rows of a data set as three files, and return them as a task to compare arms on."""
    folder = place / f"{one.name}-{one.n_rows}"
    folder.mkdir(parents=True)
    drawn = _lines(source, "train")
    random.Random(0).shuffle(drawn)
    validation = _lines(source, "validation") or drawn[one.n_rows:one.n_rows + N_VALIDATION]
    for name, lines in (("train", drawn[:one.n_rows]), ("validation", validation), ("test", _lines(source, "test"))):
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return ComparedTask(name=one.name, task=one.task, data=str(folder), epochs=one.epochs,
                        batch_size=one.batch_size, max_length=one.max_length)


def _lines(source: Path, part: str) -> list[object]:
    """Return the rows of one part, none where there is no such file."""
    for path in (source / f"{part}.jsonl", source / f"{part}.jsonl.gz"):
        if path.exists():
            raw = path.read_bytes()
            text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
            return [json.loads(line) for line in text.splitlines()]
    return []


if __name__ == "__main__":
    run("quality", measure)
