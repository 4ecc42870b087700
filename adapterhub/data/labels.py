"""Labels as rows hold them: which, how many of each, and renamed by a map. It knows no tasks and no splits."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from adapterhub.errors import DataError, InvalidConfig, UnknownName

OUTSIDE = "O"
"""The tag of a word that belongs to no entity."""


def labels_in(row: Mapping[str, Any]) -> list[str]:
    """Return a row's labels: its one, all of its several, or the tag of each word; none where rows have no labels."""
    if "label" in row:
        return [row["label"]]
    labels: list[str] = row.get("labels", row.get("tags", []))
    return labels


def count_labels(rows: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Return how often each label stands in the rows; of tags, at how many words."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(labels_in(row))
    return counts


def rename_labels(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return the row with its labels' new names; labels that become one stand once, a type named `O` is no entity."""
    renamed = dict(row)
    if "label" in row:
        renamed["label"] = names.get(row["label"], row["label"])
    if "labels" in row:
        renamed["labels"] = list(dict.fromkeys(names.get(label, label) for label in row["labels"]))
    if "tags" in row:
        renamed["tags"] = [_renamed_tag(tag, names) for tag in row["tags"]]
    return renamed


def require_renamed(names: Mapping[str, str], labels: Iterable[str]) -> None:
    """Raise UnknownName for an old name that is no label of the rows; InvalidConfig where they have no labels."""
    known = {kind_of(label) for label in labels}
    if names and not known:
        raise InvalidConfig("label_map renames labels, and rows of this task have none.", hint="Leave it out.")
    for name in names:
        if name not in known:
            raise UnknownName("label in label_map", name, known)


def require_learned(labels: Iterable[str], counts: Mapping[str, int], part: str) -> None:
    """Raise DataError where a part that measures has labels that no training row has."""
    if unknown := sorted(counts.keys() - set(labels)):
        told = ", ".join(f"{label} ({counts[label]})" for label in unknown[:5])
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise DataError(f"The {part} rows have labels that no training row has: {told}{more}.",
                        hint="Add training rows of them, rename them (--label-map OLD=NEW), or remove these rows.")


def kind_of(label: str) -> str:
    """Return a tag's entity type, and every other label as it is."""
    return label[2:] if label[:2] in ("B-", "I-") and label[2:] else label


def _renamed_tag(tag: str, names: Mapping[str, str]) -> str:
    if tag == OUTSIDE:
        return tag
    name = names.get(tag[2:], tag[2:])
    return OUTSIDE if name == OUTSIDE else f"{tag[:2]}{name}"
