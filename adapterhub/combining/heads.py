"""One head of several: averaged where every label and parameter agrees, or one adapter's own."""

from collections.abc import Sequence

import torch

from adapterhub.adapter.contents import AdapterTensors
from adapterhub.combining.made import Head, Parent
from adapterhub.errors import InvalidConfig

_HINT = "Give --head-from with the adapter whose task, labels and head the merged one shall have."


def own_head(tensors: AdapterTensors) -> Head:
    """Return an adapter's head in float32."""
    return {name: torch.from_numpy(array.astype("float32")) for name, array in tensors.head.items()}


def averaged_head(parents: Sequence[Parent], tensors: Sequence[AdapterTensors], weights: Sequence[float]) -> Head:
    """Return the mean of the heads by the weights' shares.

    Raises InvalidConfig where tasks, labels or parameters differ, or where the weights have no shares.
    """
    require_one_task(parents)
    heads = [own_head(one) for one in tensors]
    shapes = [{name: tuple(value.shape) for name, value in head.items()} for head in heads]
    for parent, shape in zip(parents, shapes, strict=True):
        if shape != shapes[0]:
            odd = sorted(shape.items() ^ shapes[0].items())[0][0]
            raise InvalidConfig(f"{parents[0].reference} and {parent.reference} have different heads ({odd}).",
                                hint=_HINT)
    if not heads[0]:
        return {}
    whole = sum(weights)
    if whole <= 0:
        raise InvalidConfig(f"The weights add up to {whole:g}, so heads cannot be averaged by them.", hint=_HINT)
    return {name: torch.stack([head[name] * (weight / whole) for head, weight in zip(heads, weights, strict=True)])
            .sum(dim=0) for name in heads[0]}


def require_one_task(parents: Sequence[Parent]) -> None:
    """Raise InvalidConfig where tasks or labels differ."""
    first = parents[0]
    for parent in parents[1:]:
        one, other = first.files.manifest, parent.files.manifest
        if one.task != other.task:
            raise InvalidConfig(f"{first.reference} is for {one.task}, {parent.reference} for {other.task}.",
                                hint=_HINT)
        if one.labels != other.labels:
            raise InvalidConfig(f"{first.reference} and {parent.reference} have different labels: "
                                f"{_shown(one.labels, other.labels)}.", hint=_HINT)


def _shown(labels: list[str], others: list[str]) -> str:
    only = sorted(set(labels) ^ set(others))
    if not only:
        return "the same ones in another order"
    return f"{', '.join(only[:5])}{f' and {len(only) - 5} more' if len(only) > 5 else ''} in one only"
