"""What an adapter saves against full fine-tuning, and whether the claims of `adapterhub compare` hold on this machine.

The example intents give bytes, counted memory and, run twice, how far two runs agree. Banking77, where it is at hand,
gives the preset lean against full fine-tuning, each at its own rate, in turn. A hundred tasks are served as adapters;
what a hundred whole models would take is drawn out from one and four that were really loaded, and said so.
A full run takes hours for banking77, and goes on from what `results/compare-lean/` holds. A quick one takes the rows of
twelve of its intents, which full fine-tuning too learns in the few steps that there is time for.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from adapterhub.costs.arms import Arm, find_arm
from adapterhub.costs.compare import run_comparison
from adapterhub.costs.drawn import lines_of
from adapterhub.costs.serving import ADAPTERS, PROCESSES, measure_serving
from adapterhub.costs.suites import SERVED, ComparedTask, Suite, quick_suite
from adapterhub.costs.summary import ArmSummary, summarise
from adapterhub.registry import open_registries
from adapterhub.settings import Settings
from benchmarks.adapters_made import scratch_folder
from benchmarks.report import RESULTS, Figure, Options, run

QUERY_VALUE = Arm(name="lora-qv-r4", title="LoRA query-value, rank 4", method="lora", rates=(4e-3,),
                  more={"rank": 4, "targets": "query-value"})
"""The LoRA paper's own rank for these layers."""
BANKING77 = ComparedTask(name="banking77", task="text-classification", data="banking77", n_rows=9_500, epochs=6)
QUICK_BANKING77 = replace(BANKING77, n_rows=800, epochs=4)
QUICK_INTENTS = 12
QUICK_EPOCHS = 2
"""Of the example intents: enough for bytes, memory and the time of a step."""
COUNTED = ("full", "lora-qv-r8", "lora-r8", "lean")
AGREEING = ("full", "lora-r8", "lean")
"""Arms that run twice in a quick run; in a full one all do."""
N_SERVED = 100


def measure(options: Options) -> list[Figure]:
    """Compare arms on the example intents twice, lean with full fine-tuning on banking77, and serve a hundred tasks."""
    settings = Settings.from_environment()
    with scratch_folder() as place:
        counted = (*map(find_arm, COUNTED), QUERY_VALUE)
        again = tuple(map(find_arm, AGREEING)) if options.is_quick else counted
        first, second = (_intents(arms, place / str(number), settings, options)
                         for number, arms in enumerate((counted, again)))
        return [*_of_bytes(first), *_of_agreement(first, second), *_of_serving(place, settings),
                *_of_lean(place, settings, options)]


def _intents(arms: tuple[Arm, ...], place: Path, settings: Settings, options: Options) -> dict[str, ArmSummary]:
    suite = quick_suite()
    if options.is_quick:
        suite = replace(suite, tasks=tuple(replace(task, epochs=QUICK_EPOCHS) for task in suite.tasks))
    suite = replace(suite, arms=arms, n_at_once=len(arms), grid_batches=(), served="")
    results = run_comparison(suite, place, settings)
    return {arm.arm: arm for arm in summarise(results, suite.tasks[0].name)}


def _of_bytes(arms: dict[str, ArmSummary]) -> list[Figure]:
    full = arms["full"]

    def state(arm: ArmSummary) -> int:
        assert arm.parts is not None, "trained arms are counted"
        return arm.parts.gradients + arm.parts.optimizer
    return [
        Figure(name="bytes on disk, full over LoRA all-linear rank 8", unit="x", at_least=60,
               value=full.disk_bytes / arms["lora-r8"].disk_bytes),
        Figure(name="bytes on disk, full over LoRA query-value rank 4", unit="x", at_least=200,
               value=full.disk_bytes / arms["lora-qv-r4"].disk_bytes),
        Figure(name="bytes on disk, full over LoRA query-value rank 8", unit="x",
               value=full.disk_bytes / arms["lora-qv-r8"].disk_bytes, note="head and pooler are two thirds of it"),
        Figure(name="gradient and optimiser bytes, full over LoRA query-value rank 8", unit="x", at_least=60,
               value=state(full) / state(arms["lora-qv-r8"])),
        Figure(name="gradient and optimiser bytes, full over LoRA all-linear rank 8", unit="x",
               value=state(full) / state(arms["lora-r8"])),
    ]


def _of_agreement(first: dict[str, ArmSummary], second: dict[str, ArmSummary]) -> list[Figure]:
    """How far the ratios to full fine-tuning of two runs differ."""
    figures = []
    for what, name in (("peak_memory_bytes", "peak memory"), ("step_seconds", "processor time of a step")):
        ratios = [{arm: getattr(run[arm], what) / getattr(run["full"], what) for arm in run} for run in (first, second)]
        figures += [Figure(name=f"{arm}: {name} over full's", value=ratios[0][arm], unit="x") for arm in first
                    if arm != "full"]
        worst = max(abs(ratios[1][arm] / ratios[0][arm] - 1) for arm in second)
        figures.append(Figure(name=f"{name}: largest difference of two runs' ratios", value=worst, unit="of it",
                              at_most=0.10))
    return figures


def _of_serving(place: Path, settings: Settings) -> list[Figure]:
    folder = place / "served"
    open_registries(settings).pull(SERVED, folder)
    served = measure_serving("embedded", folder, (1, 4, N_SERVED), most_models=4)
    memory = {one.way: one.memory_bytes for one in served if one.n_tasks == N_SERVED}
    swap = {one.way: one.swap_seconds for one in served if one.n_tasks == 1}
    return [
        Figure(name=f"memory of {N_SERVED} tasks as adapters over a full model's process each", unit="x", at_most=0.05,
               value=memory[ADAPTERS] / memory[PROCESSES], note="processes drawn out from 1 and 4"),
        Figure(name="memory of that as adapters", unit="MB", value=memory[ADAPTERS] / 1e6),
        Figure(name="swap of one task, an adapter over a full model", unit="x",
               value=(swap[ADAPTERS] or 0.0) / (swap[PROCESSES] or 1.0)),
    ]


def _of_lean(place: Path, settings: Settings, options: Options) -> list[Figure]:
    if settings.data is None or not (settings.data / "data" / "banking77").is_dir():
        print("banking77 is not here (ADAPTERHUB_DATA): lean is not measured.")
        return []
    data = settings.data / "data" / "banking77"
    task = (replace(QUICK_BANKING77, data=str(few_intents(data, place / "banking77"))) if options.is_quick
            else replace(BANKING77, data=str(data)))
    suite = Suite(name="lean", tasks=(task,), arms=tuple(map(find_arm, ("full", "lean"))), is_tuned=False,
                  seeds=(options.seed,) if options.is_quick else tuple(range(options.seed, options.seed + 3)))
    kept = place / "lean" if options.is_quick else RESULTS / "compare-lean"
    full, lean = summarise(run_comparison(suite, kept, settings), task.name)
    return lean_figures(full, lean)


def few_intents(source: Path, place: Path) -> Path:
    """Write banking77's rows of its first intents into `place`; return it."""
    place.mkdir(parents=True)
    for part in ("train", "test"):
        rows = lines_of(source, part)
        kept = sorted({row["label"] for row in rows})[:QUICK_INTENTS]
        lines = [json.dumps(row) for row in rows if row["label"] in kept]
        (place / f"{part}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return place


def lean_figures(full: ArmSummary, lean: ArmSummary) -> Sequence[Figure]:
    """Return lean beside full fine-tuning; a quality that it never reached counts as all of full's time."""
    reached = lean.near_seconds is not None and full.near_seconds
    return [
        Figure(name="lean on banking77: peak memory over full's", unit="x", at_most=0.30,
               value=lean.peak_memory_bytes / full.peak_memory_bytes, note="while training"),
        Figure(name="lean on banking77: processor time to within 0.5 points of full's best", unit="x", at_most=0.60,
               value=(lean.near_seconds or 0.0) / (full.near_seconds or 1.0) if reached else 1.0,
               note="" if reached else "never reached"),
        Figure(name="lean on banking77: test accuracy less full's", unit="points",
               value=100 * (lean.quality.value - full.quality.value), note=f"{lean.quality.n} seed(s)"),
        Figure(name="lean on banking77: memory while measuring and writing over full's", unit="x",
               value=lean.write_memory_bytes / full.write_memory_bytes),
    ]


if __name__ == "__main__":
    run("compare", measure)
