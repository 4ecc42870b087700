"""Headlines of SEntFiN: their rows, the names in them as tags to train on, and how well names are found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adapterhub.data.formats import Table
from adapterhub.tasks.table import find_task

NAME = "NAME"
"""The one type of entity: who or what the headline's sentiment is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """One row."""

    text: str
    sentiment: str
    names: list[str]


def read_headlines(table: Table) -> list[Headline]:
    """Return a part's rows."""
    return [Headline(text=text, sentiment=label, names=list(names)) for text, label, names
            in zip(table.column("text"), table.column("label"), table.column("entities"), strict=True)]


def tagged(headline: Headline) -> dict[str, Any]:
    """Return a training row for token-classification: words as the task splits them, and a tag for each."""
    row = find_task("token-classification").parse_row(headline.text)
    tags = ["O"] * len(row["tokens"])
    for name in headline.names:
        start = headline.text.lower().find(name.lower())
        inside = [word for word, (first, last) in enumerate(row["spans"])
                  if start >= 0 and first < start + len(name) and last > start]
        for word in inside:
            tags[word] = f"{'B' if word == inside[0] else 'I'}-{NAME}"
    return {"tokens": row["tokens"], "tags": tags}


def names_f1(found: Sequence[Sequence[str]], headlines: Sequence[Headline]) -> float:
    """Return the F1 of found names against the data's, as sets of lower-cased names per headline."""
    pairs = [({name.lower() for name in names}, {name.lower() for name in headline.names})
             for names, headline in zip(found, headlines, strict=True)]
    n_right = sum(len(mine & theirs) for mine, theirs in pairs)
    return 2 * n_right / max(1, sum(len(mine) + len(theirs) for mine, theirs in pairs))
