"""What rows must hold: texts that are there and say something, labels that training saw. It knows no single task."""

from collections.abc import Sequence
from typing import Any

from adapterhub.errors import DataError, PredictionError
from adapterhub.tasks.task import Row


def require_known(found: set[str], labels: Sequence[str]) -> None:
    """Raise DataError for labels that training did not see."""
    if unknown := sorted(found - set(labels)):
        raise DataError(f"Labels {unknown[:5]} are not among the adapter's {len(labels)} labels.",
                        hint=f"It knows {', '.join(list(labels)[:8])}{' ...' if len(labels) > 8 else ''}.")


def require_texts(row: Any, task: str, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> Row:
    """Return the named texts of a row. Raises PredictionError where one is missing, empty or no text."""
    if not isinstance(row, dict):
        raise PredictionError(f"A row for {task} must be a text or a mapping, found {type(row).__name__}.",
                              hint=f"Give {' and '.join(required)}.")
    kept = {name: row[name] for name in (*required, *optional) if name in row}
    for name in (*required, *kept):
        if not isinstance(kept.get(name), str) or not kept[name].strip():
            raise PredictionError(f"A row for {task} has no {name}: {str(row)[:80]}.",
                                  hint=f"Give {' and '.join(required)} as texts that are not empty.")
    return kept
