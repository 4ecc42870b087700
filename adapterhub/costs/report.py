"""The report of a comparison: Markdown with pictures beside it, and the same as one HTML file that stands alone."""

import base64
import html
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from adapterhub.costs.anchors import ANCHORS
from adapterhub.costs.energy import NOT_MEASURABLE
from adapterhub.costs.grid import GridCell
from adapterhub.costs.machine import describe_machine, versions
from adapterhub.costs.paces import Paces
from adapterhub.costs.plots import curves_picture, grid_picture, memory_picture, pareto_picture, tasks_picture
from adapterhub.costs.results import Result
from adapterhub.costs.serving import ServedTasks
from adapterhub.costs.summary import ArmSummary, summarise
from adapterhub.costs.words import when_to_use_which
from adapterhub.files import write_atomic

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;display:block;overflow-x:auto;font-size:13px}td,th{border:1px solid #ccc;
padding:.25em .6em;text-align:right}td:first-child,th:first-child{text-align:left}img{max-width:100%}"""
REPORT = "report"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Everything that one comparison came to."""

    suite: str
    results: Sequence[Result]
    grid: Sequence[GridCell] = ()
    served: Sequence[ServedTasks] = ()
    paces: Mapping[str, Paces] = field(default_factory=dict)
    """Task -> the rounds in which its steps were timed; empty where all arms ran in one round anyway."""
    left_out: dict[str, dict[str, str]] = field(default_factory=dict)
    """Task -> arm -> why it was not run."""
    price_per_hour: float | None = None
    """Of the machine, in whatever money; None: money is not told."""

    @property
    def tasks(self) -> list[str]:
        """The tasks, in the order in which they come."""
        return list(dict.fromkeys(result.task for result in self.results))


def write_report(compared: Compared, place: Path) -> Path:
    """Write `report.md`, its pictures and `report.html` into a folder; return the page."""
    place.mkdir(parents=True, exist_ok=True)
    text, pictures = _written(compared)
    for name, data in pictures.items():
        write_atomic(place / name, data)
    write_atomic(place / f"{REPORT}.md", text.encode())
    page = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    for name, data in pictures.items():
        page = page.replace(f'src="{name}"', f'src="data:image/png;base64,{base64.b64encode(data).decode()}"')
    title = html.escape(f"adapterhub compare: {compared.suite}")
    document = (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
                f"<style>{_STYLE}</style></head><body>{page}</body></html>\n")
    write_atomic(place / f"{REPORT}.html", document.encode())
    return place / f"{REPORT}.html"


def _written(compared: Compared) -> tuple[str, dict[str, bytes]]:
    """Return the Markdown and the pictures that it shows, by file name."""
    parts, pictures = [f"# What it saves: {compared.suite}", _measured_on(compared)], {}

    def show(name: str, data: bytes, caption: str) -> None:
        pictures[name] = data
        parts.append(f"![{caption}]({name})")

    for task in compared.tasks:
        arms = summarise(compared.results, task)
        name = _file_name(task)
        parts += [f"## {task}", when_to_use_which(task, arms), _table_of_arms(arms),
                  _note_of_arms(arms, compared.paces.get(task))]
        parts += [f"Left out: {arm}. {why}" for arm, why in compared.left_out.get(task, {}).items()]
        show(f"memory-{name}.png", memory_picture(f"{task}: memory of a step", arms), "Memory by part, and its peak")
        parts.append(_table_of_parts(arms))
        show(f"pareto-{name}.png", pareto_picture(f"{task}: quality against bytes", arms), "Quality against bytes")
        show(f"curves-{name}.png", curves_picture(f"{task}: learning curves", arms), "Learning curves")
        if compared.price_per_hour is not None:
            parts.append(_money(arms, compared.price_per_hour))
    if compared.grid:
        parts += ["## A step's memory and time over batch and length, and their estimates", _grid_words(compared.grid)]
        show("grid-memory.png", grid_picture("Peak memory of a step", compared.grid, "peak_memory_bytes"), "Memory")
        show("grid-time.png", grid_picture("Time of a step", compared.grid, "step_seconds"), "Time")
        parts.append(_table_of_grid(compared.grid))
    if compared.served:
        parts += ["## Many tasks served"]
        show("tasks.png", tasks_picture("Memory for N tasks", compared.served), "Memory for N tasks")
        parts.append(_table_of_served(compared.served))
    parts += ["## Beside published figures", _table_of_anchors(compared)]
    return "\n\n".join(part for part in parts if part) + "\n", pictures


def _measured_on(compared: Compared) -> str:
    machines = {str(result.machine.get("processor")): result.machine for result in compared.results}
    told = " or ".join(map(_machine, machines.values())) or _machine(describe_machine())
    found = compared.results[0].versions if compared.results else versions()
    libraries = ", ".join(f"{name} {version}" for name, version in sorted(found.items()))
    seeds = sorted({result.figures.seed for result in compared.results})
    energy = compared.results[0].figures.energy_counter if compared.results else NOT_MEASURABLE
    return (f"Measured on {told}, with {libraries}; seeds {', '.join(map(str, seeds))}. "
            "Each arm ran in a process of its own, step by step in turn with the others, at its own learning rate. "
            "Memory is the highest resident set above what the process had before it loaded the base, in the first "
            "epoch, with freed memory given back at once; steps are timed with freed memory kept, in seconds of "
            "processors, since the clock also tells who else computes. "
            f"Energy: {energy if energy != NOT_MEASURABLE else NOT_MEASURABLE + ' (no NVML, no readable RAPL)'}.")


def _machine(machine: Mapping[str, Any]) -> str:
    return (f"{machine.get('processor')}, {machine.get('threads')} processors, "
            f"OMP_NUM_THREADS={machine.get('OMP_NUM_THREADS') or 'unset'}, "
            f"{machine.get('memory_bytes', 0) / 1e9:.0f} GB")


def _table_of_arms(arms: Sequence[ArmSummary]) -> str:
    full = next((arm for arm in arms if arm.arm == "full"), None)
    header = ("arm", "test quality", "rate", "trained", "result, MB", "checkpoint, MB", "peak memory, MB",
              "while writing, MB", "step, ms", "to best, s", "to full's best less 0.5 points, s",
              "energy, J")
    lines = [(arm.title, f"{arm.metric} {arm.quality}", *(
        _costs(arm, full) if arm.trained_parameters else [""] * (len(header) - 2))) for arm in arms]
    return _table(header, lines)


def _costs(arm: ArmSummary, full: ArmSummary | None) -> tuple[str, ...]:
    return (
        f"{arm.learning_rate:g}", f"{arm.trained_parameters:,}",
        _with_ratio(arm.disk_bytes / 1e6, full.disk_bytes / 1e6 if full else None),
        f"{arm.checkpoint_bytes / 1e6:.1f}",
        _with_ratio(arm.peak_memory_bytes / 1e6, full.peak_memory_bytes / 1e6 if full else None),
        f"{arm.write_memory_bytes / 1e6:.0f}",
        _with_ratio(1e3 * arm.step_seconds, 1e3 * full.step_seconds if full else None),
        _seconds(arm.best_seconds), _with_ratio(arm.near_seconds, full.near_seconds if full else None),
        NOT_MEASURABLE if arm.energy_joules is None else f"{arm.energy_joules:.0f}")


def _note_of_arms(arms: Sequence[ArmSummary], paces: Paces | None) -> str:
    n = max(len(arm.seeds) for arm in arms)
    interval = ("± is the 95 % interval of the mean by Student's t." if n > 1 else
                "One seed: differences of a point or two are no results.")
    return (f"{interval} In brackets: the share of full fine-tuning's. Times are those of steps, with what is run "
            "ahead of them. A checkpoint is counted: the trained tensors and AdamW's two figures for each, in float32. "
            f"{_processors(arms, paces)}").rstrip()


def _processors(arms: Sequence[ArmSummary], paces: Paces | None) -> str:
    """Say where arms' memory and times were measured, and which were measured elsewhere than the others."""
    by_processor: dict[str, list[str]] = {}
    for arm in arms:
        by_processor.setdefault(arm.processor, []).append(arm.title)
    where = "; ".join(f"{', '.join(titles)} on {processor}" for processor, titles in by_processor.items())
    if paces:
        return (f"Memory is of {where if len(by_processor) > 1 else next(iter(by_processor))}. Each arm "
                f"took {paces.n_steps} steps in turn with full fine-tuning's on {paces.processor}, and its time is "
                "what its own run's steps take at that pace.")
    return f"Memory and times are of: {where}. Times of different processors do not compare." if (
        len(by_processor) > 1) else f"Memory and times are of {next(iter(by_processor))}."


def _table_of_parts(arms: Sequence[ArmSummary]) -> str:
    lines = [(arm.title, *(f"{getattr(arm.parts, part) / 1e6:.1f}" for part in (
        "weights", "gradients", "optimizer", "activations")), f"{arm.peak_memory_bytes / 1e6:.0f}")
        for arm in arms if arm.parts]
    return _table(("counted, MB, for the longest batch", "weights", "gradients", "optimiser", "activations kept",
                   "measured peak"), lines)


def _table_of_grid(grid: Sequence[GridCell]) -> str:
    lines = [(f"{cell.arm} on {cell.base}", cell.batch_size, cell.length, f"{cell.peak_memory_bytes / 1e6:.0f}",
              f"{cell.estimated_memory_bytes / 1e6:.0f}", f"{100 * cell.memory_error:+.0f} %",
              f"{1e3 * cell.step_seconds:.0f}", f"{1e3 * cell.estimated_seconds:.0f}",
              f"{100 * cell.time_error:+.0f} %") for cell in grid]
    return _table(("arm", "rows", "tokens", "peak, MB", "estimated", "error", "step, ms", "estimated", "error"), lines)


def _grid_words(grid: Sequence[GridCell]) -> str:
    memory = [abs(cell.memory_error) for cell in grid]
    seconds = [abs(cell.time_error) for cell in grid]
    return (f"Over {len(grid)} sizes the estimate misses the peak by {100 * statistics.fmean(memory):.0f} % on average "
            f"(at most {100 * max(memory):.0f} %), and the time by {100 * statistics.fmean(seconds):.0f} % "
            f"(at most {100 * max(seconds):.0f} %).")


def _table_of_served(served: Sequence[ServedTasks]) -> str:
    lines = [(one.way, one.n_tasks, f"{one.memory_bytes / 1e6:,.0f}", f"{one.start_seconds:.1f}",
              "" if one.rows_per_s is None else f"{one.rows_per_s:.0f}",
              "" if one.swap_seconds is None else f"{1e3 * one.swap_seconds:.0f}",
              "extrapolated" if one.is_extrapolated else "") for one in served]
    return _table(("way", "tasks", "memory, MB", "start, s", "rows per second", "swap, ms", ""), lines)


def _table_of_anchors(compared: Compared) -> str:
    lines: list[tuple[object, ...]] = [(f"{anchor.source}: {anchor.workload}", _times(anchor.memory_ratio),
                                        _times(anchor.time_ratio), _times(anchor.bytes_ratio), anchor.quality)
                                       for anchor in ANCHORS]
    for task in compared.tasks:
        arms = {arm.arm: arm for arm in summarise(compared.results, task)}
        if full := arms.get("full"):
            lines += [(f"ours: {task}, {arm.title}, all-MiniLM-sized bases on a processor: another workload",
                       _times(full.peak_memory_bytes / arm.peak_memory_bytes),
                       _times(full.step_seconds / arm.step_seconds), _times(full.disk_bytes / arm.disk_bytes),
                       f"{arm.metric} {full.quality} full, {arm.quality}")
                      for name, arm in arms.items() if name in ("lora-qv-r8", "lora-r8", "lean")]
    return _table(("source and workload", "memory, full / adapter", "time, full / adapter", "bytes, full / adapter",
                   "quality"), lines)


def _money(arms: Sequence[ArmSummary], price_per_hour: float) -> str:
    told = [f"{arm.title} {arm.train_seconds / 3600 * price_per_hour:.4f}" for arm in arms if arm.train_seconds]
    return f"Money for training, at {price_per_hour:g} an hour: {'; '.join(told)}."


def _table(header: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in row)} |" for row in rows)


def _with_ratio(value: float | None, full: float | None) -> str:
    if value is None:
        return "never"
    shown = f"{value:.1f}" if value < 100 else f"{value:.0f}"
    return f"{shown} ({value / full:.3g}x)" if full else shown


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}x"


def _file_name(task: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", task.lower()).strip("-") or "task"
