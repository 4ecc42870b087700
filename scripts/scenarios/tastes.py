"""Users with a taste, and what they like: restaurants of the E2E data. It knows no embedding.

The restaurants' descriptions are real, written by people. No data set here knows real users: a user is drawn, as a
taste (three attributes that a restaurant must have) with a few liked ones of that taste, told by their texts alone.
"""

import itertools
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from adapterhub.data.formats import Table

TASTE_ATTRIBUTES = ("food", "priceRange", "customer rating", "area", "familyFriendly")
N_ATTRIBUTES = 3
N_LIKED = 3
LEAST_LEFT = 3
"""Restaurants of a user's taste that are left to be found."""
_ATTRIBUTE = re.compile(r"([^\[\],]+)\[([^\]]*)\]")

Taste = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restaurant:
    """One item: what it is, and a text that somebody wrote of it."""

    text: str
    attributes: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody with a taste."""

    taste: Taste
    """Never shown to a model."""
    liked: tuple[int, ...]
    """Places of the liked restaurants in the catalogue."""
    wanted: frozenset[int]
    """Places of all others of the same taste."""


def read_restaurants(table: Table, seed: int) -> list[Restaurant]:
    """Return each restaurant (a meaning) once, with one of its texts drawn."""
    texts_of: dict[str, list[str]] = {}
    for meaning, text in zip(table.column("prompt"), table.column("completion"), strict=True):
        texts_of.setdefault(meaning, []).append(text)
    generator = random.Random(seed)  # noqa: S311  # a draw, not a secret
    return [Restaurant(text=generator.choice(texts), attributes=attributes_of(meaning))
            for meaning, texts in texts_of.items()]


def attributes_of(meaning: str) -> frozenset[tuple[str, str]]:
    """Parse `name[The Mill], food[Indian]` into (attribute, value) pairs."""
    return frozenset((name.strip(), value) for name, value in _ATTRIBUTE.findall(meaning))


def draw_users(catalogue: Sequence[Restaurant], n: int, seed: int) -> list[User]:
    """Draw `n` users, each of a taste that enough restaurants of the catalogue share; tastes may come again."""
    generator = random.Random(seed)  # noqa: S311
    by_taste = {taste: places for taste, places in places_of_tastes(catalogue).items()
                if len(places) >= N_LIKED + LEAST_LEFT}
    users = []
    for taste in generator.choices(sorted(by_taste), k=n):
        liked = tuple(generator.sample(by_taste[taste], N_LIKED))
        users.append(User(taste=taste, liked=liked, wanted=frozenset(by_taste[taste]) - set(liked)))
    return users


def places_of_tastes(catalogue: Sequence[Restaurant]) -> dict[Taste, list[int]]:
    """Return every taste that occurs -> the places of its restaurants."""
    places: dict[Taste, list[int]] = {}
    for place, restaurant in enumerate(catalogue):
        known = sorted(pair for pair in restaurant.attributes if pair[0] in TASTE_ATTRIBUTES)
        for taste in itertools.combinations(known, N_ATTRIBUTES):
            places.setdefault(taste, []).append(place)
    return places
