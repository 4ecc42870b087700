"""A user's liked and wanted restaurants all have the user's taste, and no other restaurant does."""

from adapterhub.data.formats import Table
from scripts.scenarios.recommendation import profile, random_recall, recalls_of
from scripts.scenarios.tastes import N_LIKED, User, attributes_of, draw_users, read_restaurants

MEANINGS = [f"name[The {name}], food[{food}], priceRange[{price}], area[riverside], near[Café {name}]"
            for food in ("Indian", "French") for price in ("cheap", "high") for name in "ABCDEFG"]


def table() -> Table:
    columns = {"prompt": [meaning for meaning in MEANINGS for _ in range(2)],
               "completion": [f"{telling} {meaning}" for meaning in MEANINGS for telling in ("first", "second")]}
    return Table(source="rows", names=list(columns), n_rows=2 * len(MEANINGS), column=columns.__getitem__)


def test_attributes_keep_commas_of_their_own_and_spaces_in_names() -> None:
    assert attributes_of("name[Fish, Chips], customer rating[5 out of 5]") == {("name", "Fish, Chips"),
                                                                                ("customer rating", "5 out of 5")}


def test_each_restaurant_is_there_once_with_one_of_its_texts() -> None:
    catalogue = read_restaurants(table(), seed=0)
    assert [restaurant.text.partition(" ")[2] for restaurant in catalogue] == MEANINGS
    assert {restaurant.text.partition(" ")[0] for restaurant in catalogue} == {"first", "second"}


def test_wanted_restaurants_are_all_others_of_the_taste() -> None:
    catalogue = read_restaurants(table(), seed=0)
    users = draw_users(catalogue, 20, seed=3)
    assert len({user.taste for user in users}) > 1
    for user in users:
        of_taste = {place for place, restaurant in enumerate(catalogue) if restaurant.attributes >= set(user.taste)}
        assert user.wanted == of_taste - set(user.liked)
        assert len(set(user.liked)) == N_LIKED and of_taste >= set(user.liked)


def test_users_are_told_by_the_texts_of_what_they_like_alone() -> None:
    catalogue = read_restaurants(table(), seed=0)
    user = draw_users(catalogue, 1, seed=0)[0]
    assert profile(catalogue, user).splitlines() == [catalogue[place].text for place in user.liked]


def test_recall_is_of_what_fits_into_ten() -> None:
    few = User(taste=(), liked=(90, 91, 92), wanted=frozenset({1, 2, 50, 51}))
    many = User(taste=(), liked=(90, 91, 92), wanted=frozenset(range(20)))
    assert recalls_of([few, many], [[1, 2, *range(60, 68)], list(range(10))]) == [0.5, 1.0]
    assert random_recall([few], 103) == 10 * 4 / 100 / 4
