"""The card: an adapter's README.md as a Hugging Face model card, filled in from what was measured."""

from collections.abc import Sequence
from dataclasses import dataclass

from adapterhub.adapter.manifest import BaseFacts, DataFacts, MethodFacts, Metric, TrainingFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class CardTable:
    """One table of the card."""

    title: str
    header: tuple[str, ...]
    lines: Sequence[tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What a card tells."""

    task: str
    labels: Sequence[str]
    method: MethodFacts
    base: BaseFacts
    hub_base: str
    """The base's id on the Hugging Face Hub, for stock clients."""
    data: DataFacts
    metrics: Sequence[Metric]
    training: TrainingFacts
    tables: Sequence[CardTable]
    usage: str
    """A few lines of Python for stock clients."""


def render_card(facts: CardFacts) -> str:
    """Return the card's Markdown, with the Hub's front matter."""
    data, training = facts.data, facts.training
    rows = ", ".join(f"{count} {split}" for split, count in data.n_rows.items())
    figures = CardTable(title="Measured", header=("metric", "split", "rows", "value"),
                        lines=[(m.name, m.split, str(m.n_rows), f"{m.value:.4f}") for m in facts.metrics])
    settings = CardTable(title="How it was made", header=("setting", "value"),
                         lines=[(name, str(value)) for name, value in sorted(training.hyperparameters.items())]
                         + [("seed", str(training.seed))] + sorted(training.versions.items()))
    shown = f"{', '.join(facts.labels[:20])}{' ...' if len(facts.labels) > 20 else ''}"
    parts = [
        _front_matter(facts),
        f"# {data.name}: {facts.task}\n",
        f"A {facts.method.name} adapter of rank {facts.method.rank} for the base `{facts.hub_base}` "
        f"(fingerprint `{facts.base.fingerprint[:12]}`): {facts.method.n_parameters:,} parameters in "
        f"{facts.method.dtype}, the task's head included.\n",
        f"{len(facts.labels)} labels: {shown}.\n" if facts.labels else "",
        f"## Data\n\n{data.name}: {rows} rows. {_licence(data)}\n",
        _table(figures),
        *(_table(table) for table in facts.tables),
        _table(settings),
        f"Training took {training.seconds:.0f} s; peak memory of the process "
        f"{training.peak_memory_bytes / 1e6:.0f} MB.\n",
        f"## Use it with stock PEFT\n\n```python\n{facts.usage}\n```\n",
    ]
    return "\n".join(part for part in parts if part)


def _front_matter(facts: CardFacts) -> str:
    lines = ["---", f"base_model: {facts.hub_base}", "base_model_relation: adapter", "library_name: peft",
             f"pipeline_tag: {facts.task}", "tags:", "- adapterhub", f"- {facts.method.name}", "---", ""]
    return "\n".join(lines)


def _licence(data: DataFacts) -> str:
    return " ".join(part for part in (f"Licence: {data.licence}." if data.licence else "Licence: not stated.",
                                      f"Source: {data.source}." if data.source else "") if part)


def _table(table: CardTable) -> str:
    if not table.lines:
        return ""
    lines = [f"| {' | '.join(table.header)} |", f"|{'---|' * len(table.header)}",
             *(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in table.lines)]
    return f"## {table.title}\n\n" + "\n".join(lines) + "\n"
