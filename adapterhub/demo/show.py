"""What the demo prints: titles, sentences and tables of figures. It measures nothing."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapterhub.costs.figures import ArmFigures
from adapterhub.costs.scale import ScaleLine
from adapterhub.demo.figures import MixedFigures, SwapFigures
from adapterhub.demo.plan import MixedRow
from adapterhub.tasks.task import Evaluation

SHOWN_REPORTS = ("per class", "per entity")
"""The report per tag says the same as the one per entity, tag by tag."""


class Screen:
    """Prints to one console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def title(self, text: str) -> None:
        """Begin a step."""
        self._console.print(Text(f"\n{text}", style="bold"))

    def say(self, text: str) -> None:
        """Print a sentence; the terminal breaks it where it must, a file keeps it on one line."""
        self._console.print(Text(text), soft_wrap=True)

    def table(self, title: str, header: Sequence[str], lines: Sequence[Sequence[object]]) -> None:
        """Print a table under its title."""
        self.say(title)
        table = Table()
        for name in header:
            table.add_column(name)
        for line in lines:
            table.add_row(*(Text(str(cell)) for cell in line))
        self._console.print(table)

    def evaluation(self, what: str, evaluation: Evaluation) -> None:
        """Print the per-class or per-entity report on the test rows."""
        for title in SHOWN_REPORTS:
            if report := evaluation.reports.get(title):
                self.table(f"{what}, {evaluation.n_rows} test rows, {title}",
                           ("label", "precision", "recall", "F1", "support"),
                           [(line.label, f"{line.precision:.2f}", f"{line.recall:.2f}", f"{line.f1:.2f}", line.support)
                            for line in report])

    def mixed(self, rows: Sequence[MixedRow], figures: MixedFigures) -> None:
        """Print each row's version, digest and answer, and in how many passes they came."""
        self.table("Answers, in the order of the rows", ("row", "version", "sha256", "answer"),
                   [(row.what, answer["version"], answer["digest"][:12], short_answer(answer["result"]))
                    for row, answer in zip(rows, figures.answers, strict=True)])
        self.say(f"{len(rows)} rows of {figures.n_adapters} adapters were answered in {figures.n_passes} "
                 f"pass{'es' * (figures.n_passes != 1)} through the base, in {1000 * figures.seconds:.0f} ms.")

    def swap(self, figures: SwapFigures) -> None:
        """Print who answered the stream's requests."""
        self.table("Requests to production while it moved", ("requests", "answered by"),
                   [(f"{phase.first} to {phase.last}", phase.version) for phase in figures.phases])
        self.say(f"{figures.n_requests} requests, {len(figures.failures)} failed.")

    def comparison(self, adapter: ArmFigures, full: ArmFigures) -> None:
        """Print two arms side by side."""
        metric = next(iter(adapter.metrics))
        self.table(f"Adapter against full fine-tuning: same rows, {adapter.epochs} epochs of "
                   f"{adapter.n_steps // adapter.epochs} steps each, one seed, fresh processes, step by step in turn",
                   ("", "adapter", "full", "full / adapter"), [
                       ("learning rate", adapter.learning_rate, full.learning_rate, ""),
                       ("trained parameters", f"{adapter.trained_parameters:,}", f"{full.trained_parameters:,}",
                        _ratio(full.trained_parameters, adapter.trained_parameters)),
                       ("bytes on disk", f"{adapter.disk_bytes:,}", f"{full.disk_bytes:,}",
                        _ratio(full.disk_bytes, adapter.disk_bytes)),
                       ("peak memory above start", _megabytes(adapter.peak_memory_bytes),
                        _megabytes(full.peak_memory_bytes),
                        _ratio(full.peak_memory_bytes, adapter.peak_memory_bytes)),
                       ("median step", f"{1000 * adapter.step_seconds:.0f} ms", f"{1000 * full.step_seconds:.0f} ms",
                        _ratio(full.step_seconds, adapter.step_seconds)),
                       (f"test {metric} ({adapter.n_test_rows} rows)", f"{adapter.metrics[metric]:.3f}",
                        f"{full.metrics[metric]:.3f}", "")])
        self.say("In the first epoch both processes give freed memory back to the system at once, so that the peak "
                 "shows the method and not the allocator; steps are timed after it. More arms: adapterhub compare.")

    def scale(self, lines: Sequence[ScaleLine], dtype: str) -> None:
        """Print disk and memory for several numbers of tasks."""
        self.table("From these sizes: one base with N adapters, against N whole models",
                   ("tasks", "disk: adapters", "disk: full", "ratio", "memory: adapters", "memory: full", "ratio"),
                   [(line.n_tasks, _megabytes(line.adapters.disk_bytes), _megabytes(line.full.disk_bytes),
                     _ratio(line.full.disk_bytes, line.adapters.disk_bytes), _megabytes(line.adapters.memory_bytes),
                     _megabytes(line.full.memory_bytes),
                     _ratio(line.full.memory_bytes, line.adapters.memory_bytes)) for line in lines])
        self.say(f"Memory counts weights alone, in the type that the runtime holds them in here ({dtype}).")


def short_answer(result: dict[str, Any]) -> str:
    """Return one answer's gist in a line."""
    if "entities" in result:
        return ", ".join(f"{entity['entity']}: {entity['word']}" for entity in result["entities"]) or "no entity"
    best = str(result.get("label") or result.get("answer"))
    return f"{best[:60]}{'...' * (len(best) > 60)} ({float(result['score']):.2f})"


def figures_of(evaluation: Evaluation) -> str:
    """Return an evaluation's metrics in a line."""
    return ", ".join(f"{name} {value:.3f}" for name, value in evaluation.metrics.items())


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f} MB" if size_bytes < 1e8 else f"{size_bytes / 1e6:,.0f} MB"


def _ratio(larger: float, smaller: float) -> str:
    return f"{larger / smaller:.1f}x" if smaller > 0 else ""
