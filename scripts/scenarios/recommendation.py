"""Recommendation: a user's liked items as text, candidates ranked by an adapted embedding, beside the bare base.

    python -m scripts.scenarios.recommendation --quick

Items are restaurants of the E2E data, as people described them; users are drawn (`tastes.py`). The adapter is trained
here, on users who like restaurants of the training part, and measured on users who choose from those of the test part:
other restaurants, most of them of kitchens that no training restaurant has. Nothing is chosen on test users.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapterhub.demo.show import Screen
from adapterhub.settings import Settings
from adapterhub.training.config import TrainConfig
from scripts.scenarios.frame import Gain, Options, Share, gain_of, scenario, share_of
from scripts.scenarios.house import BARE, Embeddings, House, embeddings_of, open_house
from scripts.scenarios.rows import read_part
from scripts.scenarios.tastes import Restaurant, User, draw_users, read_restaurants
from scripts.scenarios.trained import trained

N_RECOMMENDED = 10
TRAINED_PER_ROW = 2
"""Training users for each test user; 600 by default."""
LEAST_CANDIDATES, CANDIDATES_PER_ROW = 120, 4
"""About so many restaurants are ranked for each user: all of the test part by default."""
N_TELLINGS = 4
"""Texts of each training restaurant that are drawn from, where it has as many."""
N_SHOWN, SHOWN_ITEMS, SHOWN_CHARACTERS = 1, 3, 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured on the test users."""

    n_candidates: int
    recall: Share
    """Recall@10 by the adapted embedding: of what a user wants, as far as it fits into ten, the share that is there."""
    bare_recall: Share
    """The same by the bare base."""
    gain: Gain
    """Of the adapted embedding over the bare base, the same users."""
    random_recall: float
    """What ten restaurants drawn at random would give."""


@scenario("recommendation --quick", n_rows=300)
def main(options: Options, settings: Settings, screen: Screen) -> Figures:
    """Train an embedding on users' likes, and rank candidates for other users by it and by the bare base."""
    return run(options, settings, screen)


def run(options: Options, settings: Settings, screen: Screen) -> Figures:
    """Train, rank the catalogue for the test users both ways, print and return what was measured. Raises DataError."""
    screen.title("Recommendation: what else would this user like?")
    catalogue = read_restaurants(read_part(settings, "e2e_nlg", "test"), options.seed)
    catalogue = catalogue[::max(1, len(catalogue) // max(LEAST_CANDIDATES, CANDIDATES_PER_ROW * options.n_rows))]
    users = draw_users(catalogue, options.n_rows, options.seed)
    config = TrainConfig(task="sentence-similarity", data="", output=Path(), name="tastes", epochs=1, batch_size=32,
                         learning_rate=3e-3, max_length=128, is_validated=False, fractions=(0.95, 0.0, 0.05),
                         seed=options.seed)
    with trained(config, training_pairs(options, settings), settings, screen) as tastes, \
            open_house((tastes,), settings, screen) as house:
        adapted, bare = recommend(house, (tastes, BARE), catalogue, users)
    show(catalogue, users, adapted, bare, screen)
    recalls, bare_recalls = recalls_of(users, adapted), recalls_of(users, bare)
    figures = Figures(n_candidates=len(catalogue), recall=share_of(recalls), bare_recall=share_of(bare_recalls),
                      gain=gain_of(recalls, bare_recalls), random_recall=random_recall(users, len(catalogue)))
    screen.say(f"recall@{N_RECOMMENDED} among {len(catalogue)} restaurants, adapted: {figures.recall}")
    screen.say(f"bare base: {figures.bare_recall}; at random {figures.random_recall:.3f}")
    screen.say(f"gain, user by user: {figures.gain}")
    return figures


def training_pairs(options: Options, settings: Settings) -> list[dict[str, Any]]:
    """Return pairs of what a training user likes, as one text, and another restaurant of the same taste."""
    table = read_part(settings, "e2e_nlg", "train")
    tellings = [read_restaurants(table, options.seed + number) for number in range(N_TELLINGS)]
    pairs = []
    for number, user in enumerate(draw_users(tellings[0], TRAINED_PER_ROW * options.n_rows, options.seed)):
        mine, theirs = tellings[number % N_TELLINGS], tellings[(number + 1) % N_TELLINGS]
        wanted = sorted(user.wanted)[number % len(user.wanted)]
        pairs.append({"query": profile(mine, user), "answer": theirs[wanted].text})
    return pairs


def profile(catalogue: Sequence[Restaurant], user: User) -> str:
    """Return all that is known of a user: the texts of what they like."""
    return "\n".join(catalogue[place].text for place in user.liked)


def recommend(house: House, references: Sequence[str | None], catalogue: Sequence[Restaurant],
              users: Sequence[User]) -> list[list[list[int]]]:
    """Return for each reference and user the best places of the catalogue, what they like left out.

    Each text is embedded once by each reference, rows of all of them in the same passes.
    """
    texts = [*(restaurant.text for restaurant in catalogue), *(profile(catalogue, user) for user in users)]
    results = house.ask([(reference, text) for text in texts for reference in references])
    embeddings = embeddings_of(results)
    return [_best(embeddings[i::len(references)], users) for i in range(len(references))]


def recalls_of(users: Sequence[User], recommended: Sequence[Sequence[int]]) -> list[float]:
    """Return each user's recall: found by wanted, or by ten where more are wanted."""
    return [len(user.wanted.intersection(places)) / min(N_RECOMMENDED, len(user.wanted))
            for user, places in zip(users, recommended, strict=True)]


def random_recall(users: Sequence[User], n_candidates: int) -> float:
    """Return the mean recall that ten candidates drawn at random have in expectation."""
    shares = [N_RECOMMENDED * len(user.wanted) / (n_candidates - len(user.liked)) / min(N_RECOMMENDED, len(user.wanted))
              for user in users]
    return sum(shares) / len(shares)


def show(catalogue: Sequence[Restaurant], users: Sequence[User], adapted: Sequence[Sequence[int]],
         bare: Sequence[Sequence[int]], screen: Screen) -> None:
    """Print what a few users like and what is recommended to them."""
    for user, places, others in list(zip(users, adapted, bare, strict=True))[:N_SHOWN]:
        screen.say(f"\n  wants, and says nowhere: {', '.join(f'{name} {value}' for name, value in user.taste)}")
        for title, shown in (("likes", user.liked), ("adapted", places), ("bare base", others)):
            for place in shown[:SHOWN_ITEMS]:
                mark = "" if title == "likes" else " + " if place in user.wanted else " - "
                text = textwrap.shorten(catalogue[place].text, SHOWN_CHARACTERS, placeholder="...")
                screen.say(f"  {title:9} {mark}{text}")
    screen.say("")


def _best(embeddings: Embeddings, users: Sequence[User]) -> list[list[int]]:
    """Return each user's best places; the catalogue's embeddings stand before the users'."""
    scores = embeddings[-len(users):] @ embeddings[:-len(users)].T  # [users, catalogue]
    for i, user in enumerate(users):
        scores[i, list(user.liked)] = -2.0  # below every cosine
    places: list[list[int]] = (-scores).argsort(axis=1)[:, :N_RECOMMENDED].tolist()
    return places


if __name__ == "__main__":
    main()
