"""Rare labels made to count: weights for the loss, and rows drawn again. It knows counts and labels, no tasks."""

import math
import random
from collections.abc import Mapping, Sequence

import numpy as np

from adapterhub.data.labels import kind_of
from adapterhub.errors import InvalidConfig, UnknownName

BALANCED = "balanced"


def weights_of(wish: str | Mapping[str, float], counts: Mapping[str, int], labels: Sequence[str]) -> list[float]:
    """Return each label's weight in the loss: as given (1 where it is not), or balanced by the training rows' counts.

    A weight given for an entity type holds for both its tags. Raises UnknownName for one that is no label.
    """
    if isinstance(wish, str):
        return _balanced(counts, labels)
    known = {name for label in labels for name in (label, kind_of(label))}
    for name in wish:
        if name not in known:
            raise UnknownName("label in class_weights", name, known)
    return [float(wish.get(label, wish.get(kind_of(label), 1.0))) for label in labels]


def require_weights(wish: str | Mapping[str, float] | None) -> None:
    """Raise InvalidConfig where the wish is neither `balanced` nor weights above 0."""
    if isinstance(wish, str) and wish != BALANCED:
        raise InvalidConfig(f"class_weights is {wish!r}, expected {BALANCED} or a weight for each label.",
                            hint="Give --class-weights balanced, or for instance --class-weights fraud=5.")
    if isinstance(wish, Mapping):
        for name, weight in wish.items():
            if not 0 < weight < math.inf:
                raise InvalidConfig(f"The class weight of {name!r} is {weight}, expected a number above 0.",
                                    hint="Leave a label out with --label-map, or remove its rows.")


def oversample(labels: Sequence[str], *, seed: int) -> list[int]:
    """Return rows' places, each at least once, so that every label stands as often as the one that has most.

    What is added is drawn with replacement by the seed and stands behind the rows.
    """
    groups: dict[str, list[int]] = {}
    for i, label in enumerate(labels):
        groups.setdefault(label, []).append(i)
    most = max(map(len, groups.values()), default=0)
    generator = random.Random(seed)  # noqa: S311  # a draw, not a secret
    drawn = [i for label in sorted(groups) for i in generator.choices(groups[label], k=most - len(groups[label]))]
    return [*range(len(labels)), *drawn]


def _balanced(counts: Mapping[str, int], labels: Sequence[str]) -> list[float]:
    """Return n / (labels * count), and 1 for a label that no row has: it is never a target."""
    from sklearn.utils.class_weight import compute_class_weight  # half a second: not where nothing is weighed

    met = [label for label in labels if counts.get(label)]
    y = np.repeat(np.arange(len(met)), [counts[label] for label in met])
    weights = compute_class_weight(BALANCED, classes=np.arange(len(met)), y=y)
    by_label = dict(zip(met, weights.tolist(), strict=True))
    return [by_label.get(label, 1.0) for label in labels]
