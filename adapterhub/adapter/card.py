"""The card: an adapter's README.md as a Hugging Face model card, filled in from what was measured."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from adapterhub.adapter.front_matter import front_matter
from adapterhub.adapter.manifest import BaseFacts, DataFacts, MethodFacts, Metric, TrainingFacts
from adapterhub.adapter.plain_text import made_harmless

_COMMAND = re.compile(r"^```sh\n(.*?)\n```$", re.MULTILINE | re.DOTALL)


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
    origin: str = ""
    """A paragraph on what it was made of, where it was not trained; it takes the place of how it was trained."""
    command: str = ""
    """What makes it again, where that is known."""


def render_card(facts: CardFacts) -> str:
    """Return the card's Markdown, with the Hub's front matter."""
    data, method = facts.data, facts.method
    rows = ", ".join(f"{count:,} {split}" for split, count in data.n_rows.items())
    figures = CardTable(title="Measured", header=("metric", "split", "rows", "value", "95 % interval"),
                        lines=[(m.name, m.split, str(m.n_rows), f"{m.value:.4f}", _interval(m)) for m in facts.metrics])
    shown = f"{', '.join(facts.labels[:20])}{' ...' if len(facts.labels) > 20 else ''}"
    head = ", the task's head included" if facts.labels else ""
    parts = [
        front_matter(task=facts.task, method=method.name, hub_base=facts.hub_base, data=data, metrics=facts.metrics),
        f"# {data.name}: {facts.task}\n",
        f"An adapter (`{method.name}`, rank {method.rank}) for the base `{facts.hub_base}` (fingerprint "
        f"`{facts.base.fingerprint[:12]}`): {method.n_parameters:,} parameters in {method.dtype}"
        f"{head}.\n",
        f"{len(facts.labels)} labels: {shown}.\n" if facts.labels else "",
        f"## What it was made of\n\n{facts.origin}\n" if facts.origin else "",
        f"## Data\n\n{data.name}{f': {rows} rows' if rows else ''}. {_licence(data)}\n",
        _table(figures),
        *(_table(table) for table in facts.tables),
        "" if facts.origin else _making(facts.training, facts.command),
        f"## Use it with stock PEFT\n\n```python\n{facts.usage}\n```\n",
    ]
    return made_harmless("\n".join(part for part in parts if part))


def command_on(card: str) -> str:
    """Return the command that a card tells to make its adapter again; empty where it tells none."""
    found = _COMMAND.search(card)
    return found[1] if found else ""


def table_on(card: str, title: str) -> CardTable | None:
    """Return the table of that title as a card has it; None where it has none."""
    _, start, rest = card.partition(f"\n## {title}\n\n")
    lines = [tuple(line.removeprefix("| ").removesuffix(" |").split(" | "))
             for line in takewhile(lambda line: line.startswith("|"), rest.splitlines())]
    return CardTable(title=title, header=lines[0], lines=lines[2:]) if start and len(lines) > 2 else None


def _interval(metric: Metric) -> str:
    return "" if metric.interval is None else f"{metric.interval[0]:.4f} to {metric.interval[1]:.4f}"


def _making(training: TrainingFacts, command: str) -> str:
    settings = CardTable(title="How it was made", header=("setting", "value"),
                         lines=[(name, _setting(value)) for name, value in sorted(training.hyperparameters.items())]
                         + [("seed", str(training.seed))] + sorted(training.versions.items()))
    return (f"{_table(settings)}\nTraining took {training.seconds:.0f} s; peak memory of the process "
            f"{training.peak_memory_bytes / 1e6:.0f} MB.\n"
            + (f"\n```sh\n{command}\n```\n" if command else ""))


def _setting(value: str | int | float | bool | None) -> str:
    return "default" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _licence(data: DataFacts) -> str:
    return " ".join(part for part in (f"Licence: {data.licence}." if data.licence else "Licence: not stated.",
                                      f"Source: {data.source}." if data.source else "") if part)


def _table(table: CardTable) -> str:
    if not table.lines:
        return ""
    lines = [f"| {' | '.join(table.header)} |", f"|{'---|' * len(table.header)}",
             *(f"| {' | '.join(_cell(text) for text in line)} |" for line in table.lines)]
    return f"## {table.title}\n\n" + "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Return a text that stays in its cell."""
    return " ".join(text.replace("|", "/").split())
