"""What closes the distance where the default adapter lies below full fine-tuning: other settings, same rows and seeds.

Each setting is compared seed by seed with what `benchmarks.quality` keeps of full fine-tuning in `results/text/`. A
full run goes on from what `results/variants/` holds; a quick one learns fewer rows, and compares nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from adapterhub.costs.arms import Arm
from adapterhub.costs.compare import run_comparison
from adapterhub.costs.results import Result, ResultsFolder, of_task
from adapterhub.costs.suites import text_suite
from adapterhub.costs.summary import mean_of
from adapterhub.settings import Settings
from adapterhub.tasks.table import find_task
from benchmarks.adapters_made import scratch_folder
from benchmarks.quality import QUICK_ROWS, SEEDS
from benchmarks.report import RESULTS, Figure, Options, run


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One other way to learn a task."""

    task: str
    name: str
    rate: float
    method: str = "lora"
    epochs: int | None = None
    """None: the task's."""
    more: Mapping[str, Any]

    @property
    def arm(self) -> Arm:
        """It as an arm of a comparison, with its one rate."""
        return Arm(name=self.name, title=self.name, method=self.method, rates=(self.rate,), more=self.more,
                   is_adapter=False)  # its rate is already the task's


VARIANTS = (
    Variant(task="sentfin", name="lora-r8-8-epochs", rate=1e-3, epochs=8, more={"rank": 8}),
    Variant(task="sentfin", name="lora-r32", rate=1e-3, more={"rank": 32}),
    Variant(task="sentfin", name="full-no-embeddings", rate=1e-4, method="full", more={"frozen": "embeddings"}),
    Variant(task="medquad", name="lora-r32", rate=1e-3, more={"rank": 32}),
    Variant(task="wnut17", name="lora-r8-8-epochs", rate=1e-3, epochs=8, more={"rank": 8}),
)


def measure(options: Options) -> list[Figure]:
    """Train each variant with every seed, and compare it with full fine-tuning."""
    settings, figures = Settings.from_environment(), []
    suite = replace(text_suite(settings), is_tuned=False, seeds=SEEDS, n_at_once=1, grid_batches=(), served="")
    kept = [] if options.is_quick else ResultsFolder(RESULTS / "text").read_all()
    with scratch_folder() as place:
        for variant in VARIANTS[:1] if options.is_quick else VARIANTS:
            task = next(task for task in suite.tasks if task.name == variant.task)
            task = replace(task, arms=(), epochs=variant.epochs or task.epochs)
            own = replace(suite, tasks=(task,), arms=(variant.arm,))
            if options.is_quick:
                own = replace(own, tasks=(replace(task, n_rows=QUICK_ROWS, epochs=2),), seeds=(options.seed,))
            results = run_comparison(own, place / "results" if options.is_quick else RESULTS / "variants", settings)
            figures += figures_of(variant, results, kept)
    return figures


def figures_of(variant: Variant, results: list[Result], kept: list[Result]) -> list[Figure]:
    """Return a variant's test metric in points, and its difference to full fine-tuning with the same seeds."""
    ours = {result.figures.seed: result for result in results}
    full = {result.figures.seed: result for result in of_task(kept, variant.task).get("full", [])}
    metric = find_task(results[0].settings["task"]).metrics[0]
    values = {seed: 100 * result.figures.metrics[metric] for seed, result in ours.items()}
    gaps = [value - 100 * full[seed].figures.metrics[metric] for seed, value in values.items() if seed in full]
    name = f"{variant.task}, {variant.name}"
    return [Figure(name=f"{name}{what}", value=mean.value, unit="points", n_runs=mean.n, spread=mean.half_width,
                   note=note)
            for what, note, mean in ((f": test {metric}", f"at rate {variant.rate:g}", mean_of(list(values.values()))),
                                     *([(" less full", "seed by seed", mean_of(gaps))] if gaps else []))]


if __name__ == "__main__":
    run("variants", measure)
