"""Answers and feedback in a database: SQLite, and PostgreSQL for real."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from said import DAY_MS, answer, counts, said, texts, write_answers, write_feedback
from sqlalchemy import text

from adapterhub.errors import InvalidConfig, StorageError
from adapterhub.feedback.forgetting import (
    Forgotten,
    Retention,
    count_all,
    expire,
    forget_answer,
    forget_holder,
    forget_period,
)
from adapterhub.feedback.place import default_place, shown
from adapterhub.feedback.reading import Chosen, feedback_of, figures_of
from adapterhub.feedback.records import Judged, Label
from adapterhub.feedback.store import FeedbackStore
from adapterhub.feedback.writing import add_answers, find_answer


def judged(store: FeedbackStore, chosen: Chosen | None = None, **how: int | bool) -> list[Judged]:
    with store.reading() as connection:
        return list(feedback_of(connection, chosen or Chosen(), **how))  # type: ignore[arg-type]


@pytest.mark.parametrize("label", ["card", ("a", "b"), 0.5, None])
def test_answer_comes_back_as_it_was_kept(store: FeedbackStore, label: Label | None) -> None:
    kept = answer("ans_1", label=label, reference=None)
    write_answers(store, kept)
    with store.reading() as connection:
        assert find_answer(connection, "ans_1") == kept
        assert find_answer(connection, "ans_2") is None


def test_feedback_comes_back_with_its_answer_and_its_texts(store: FeedbackStore) -> None:
    write_answers(store, answer("ans_1"), with_texts=True)
    write_answers(store, answer("ans_2"))
    given = said("ans_1", rating=0.25, label="loan", correction={"label": "lo\u00e4n"})
    assert write_feedback(store, given)
    write_feedback(store, said("ans_2", at_ms=1500))
    second, first = judged(store)
    assert first == Judged(answer=answer("ans_1"), feedback=given, row=texts("ans_1").row,
                           result=texts("ans_1").result)
    assert (second.answer.id, second.row, second.feedback.correction) == ("ans_2", None, None)
    assert judged(store, is_newest_first=True, n_most=1) == [first]


def test_same_feedback_again_changes_nothing(store: FeedbackStore) -> None:
    write_answers(store, answer("ans_1"))
    given = said("ans_1", rating=1.0, label="card", correction={"label": "card"})
    assert [write_feedback(store, given), write_feedback(store, replace(given, at_ms=9000))] == [True, False]
    assert judged(store)[0].feedback.at_ms == given.at_ms
    assert counts(store) == (1, 1, 1)


def test_what_is_not_said_stays_and_what_is_said_anew_replaces(store: FeedbackStore) -> None:
    write_answers(store, answer("ans_1"))
    for given in (said("ans_1", rating=1.0), said("ans_1", label="loan"), said("ans_1", rating=0.0)):
        assert write_feedback(store, given)
    feedback, = [line.feedback for line in judged(store)]
    assert (feedback.rating, feedback.label) == (0.0, "loan")


def test_holders_speak_for_themselves(store: FeedbackStore) -> None:
    write_answers(store, answer("ans_1"))
    for holder, rating in (("desk", 1.0), ("lab", 0.0)):
        assert write_feedback(store, said("ans_1", holder=holder, rating=rating, correction={"label": holder}))
    assert {(line.feedback.holder, line.feedback.rating, line.feedback.correction["label"])  # type: ignore[index]
            for line in judged(store)} == {("desk", 1.0, "desk"), ("lab", 0.0, "lab")}


def test_answers_written_twice_after_a_commit_of_unknown_end_stand_once(store: FeedbackStore) -> None:
    write_answers(store, answer("ans_1"), with_texts=True)
    write_answers(store, answer("ans_1"), answer("ans_2"), with_texts=True)
    assert counts(store) == (2, 0, 4)


def test_many_writers_at_once_lose_nothing(url: str, store: FeedbackStore) -> None:
    write_answers(store, answer("ans_0"))
    stores = [FeedbackStore(url) for _ in range(4)]

    def write(number: int) -> None:
        for i in range(10):
            write_answers(stores[number], answer(f"ans_{number}_{i}"))
            write_feedback(stores[number], said("ans_0", holder=f"h{number}", rating=i / 10))
    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for own in stores:
        own.close()
    assert counts(store) == (41, 4, 0)
    assert {line.feedback.rating for line in judged(store)} == {0.9}


def test_figures_count_each_version_by_itself(store: FeedbackStore) -> None:
    write_answers(store, *(answer(f"a{i}") for i in range(4)), answer("b", version="support/intents@10", at_ms=DAY_MS),
                  answer("c", version="support/intents@2", task="text-regression", label=0.5),
                  answer("m", version="t/many@1", label=("x", "y"), task="multi-label-classification"))
    for given in (said("a0", label="card", rating=1.0), said("a1", label="loan"), said("a1", holder="lab", rating=0.0),
                  said("c", label=0.5), said("m", label=("y", "x"))):
        write_feedback(store, given)
    with store.reading() as connection:
        figures = {line.version: line for line in figures_of(connection, Chosen())}
        some = figures_of(connection, Chosen(adapter="support/intents", until_ms=DAY_MS))
    assert list(figures) == ["support/intents@2", "support/intents@3", "support/intents@10", "t/many@1"]
    third = figures["support/intents@3"]
    assert (third.n_answers, third.n_judged, third.n_ratings, third.mean_rating) == (4, 2, 2, 0.5)
    assert (third.n_labels, third.n_right, third.accuracy) == (2, 1, 0.5)
    assert figures["t/many@1"].accuracy == 1.0
    assert (figures["support/intents@2"].n_labels, figures["support/intents@2"].accuracy) == (0, None)
    assert [line.version for line in some] == ["support/intents@2", "support/intents@3"]


def test_feedback_is_chosen_by_adapter_holder_and_time(store: FeedbackStore) -> None:
    write_answers(store, answer("a"), answer("b", version="news/topics@1", holder="press"))
    write_feedback(store, said("a", rating=1.0, at_ms=100))
    write_feedback(store, said("b", rating=1.0, at_ms=200))
    for chosen, expected in ((Chosen(adapter="news/topics"), ["b"]), (Chosen(holder="press"), ["b"]),
                             (Chosen(holder="desk"), ["a", "b"]), (Chosen(since_ms=101), ["b"]),
                             (Chosen(until_ms=200), ["a"]), (Chosen(since_ms=100, until_ms=201), ["a", "b"])):
        assert [line.answer.id for line in judged(store, chosen)] == expected, chosen


def test_forgetting_takes_all_that_belongs_to_it_and_nothing_else(store: FeedbackStore) -> None:
    def fill() -> None:
        write_answers(store, answer("a"), answer("b", holder="lab", at_ms=5 * DAY_MS), with_texts=True)
        write_feedback(store, said("a", holder="lab", correction={"label": "x"}))
        write_feedback(store, said("b", holder="lab", rating=1.0, at_ms=5 * DAY_MS))
    fill()
    assert store.write(lambda c: forget_answer(c, "a")) == Forgotten(n_answers=1, n_feedback=1, n_texts=3)
    assert counts(store) == (1, 1, 2)
    fill()
    assert store.write(lambda c: forget_holder(c, "lab")) == Forgotten(n_answers=1, n_feedback=2, n_texts=3)
    assert counts(store) == (1, 0, 2)
    fill()
    assert store.write(lambda c: forget_period(c, 0, DAY_MS)) == Forgotten(n_answers=1, n_feedback=1, n_texts=3)
    assert counts(store) == (1, 1, 2)
    assert store.write(lambda c: forget_answer(c, "nobody's")) == Forgotten()


def test_texts_end_before_answers_and_in_parts(store: FeedbackStore) -> None:
    write_answers(store, *(answer(f"a{i}", at_ms=i * DAY_MS) for i in range(10)), with_texts=True)
    write_feedback(store, said("a0", rating=1.0, at_ms=0))
    retention = Retention(texts_days=2, answers_days=5)

    def sweep(n_most: int | None = None) -> Forgotten:
        return store.write(lambda c: expire(c, retention, 10 * DAY_MS, n_most=n_most))
    # of the answers of days 0 to 4, one; of the texts of days 0 to 7, two of day 0
    assert sweep(1) == Forgotten(n_answers=1, n_feedback=1, n_texts=2)
    sweep()
    with store.reading() as connection:
        assert count_all(connection) == Forgotten(n_answers=5, n_feedback=0, n_texts=4)
    assert sweep() == Forgotten()


def test_what_is_forgotten_is_gone_from_the_files_too(tmp_path: Path) -> None:
    store = FeedbackStore(str(tmp_path / "feedback.sqlite3"))
    store.write(lambda c: add_answers(c, [answer("a")], [texts("a", "a very private sentence " * 50)]))
    assert b"private" in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    store.write(lambda c: forget_answer(c, "a"))
    store.wipe()
    assert b"private" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert {oct(path.stat().st_mode)[-3:] for path in tmp_path.iterdir()} == {"600"}
    store.close()


def test_wiping_lets_postgresql_use_the_room_again(store: FeedbackStore) -> None:
    write_answers(store, answer("a"), with_texts=True)
    store.write(lambda c: forget_answer(c, "a"))
    store.wipe()
    write_answers(store, answer("a"))
    assert counts(store) == (1, 0, 0)


def test_sqlite_writes_ahead_and_syncs(tmp_path: Path) -> None:
    store = FeedbackStore(str(tmp_path / "feedback.sqlite3"))
    with store.reading() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar_one() == 2
    store.close()


def test_place_that_is_none_is_told_in_one_sentence(tmp_path: Path) -> None:
    no_database = tmp_path / "notes.txt"
    no_database.write_text("some words that are no database, and long enough to be read as one" * 20)
    for place, told in ((str(no_database), "file is not a database"), ("nosuch://x/y", "cannot be opened"),
                        ("sqlite://", "in memory"), (" ", "is empty"), (":// x", "no URL")):
        with pytest.raises((StorageError, InvalidConfig), match=told):
            FeedbackStore(place)
    with pytest.raises(StorageError, match="holds no feedback"):
        FeedbackStore(str(tmp_path / "missing"), creates=False)
    assert not (tmp_path / "missing").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        FeedbackStore(str(tmp_path / "file" / "below"))


def test_password_of_a_database_is_never_shown() -> None:
    place = "postgresql+psycopg://keeper:se%63ret@127.0.0.1:1/feedback"
    with pytest.raises(StorageError) as caught:
        FeedbackStore(place)
    assert "se%63ret" not in str(caught.value)
    assert "secret" not in str(caught.value) + shown(place)


def test_default_place_is_the_environments() -> None:
    assert default_place({"ADAPTERHUB_FEEDBACK": "postgresql://x/y"}) == "postgresql://x/y"
    assert default_place({"XDG_DATA_HOME": "/d"}) == "/d/adapterhub/feedback.sqlite3"
    assert default_place({"HOME": "/h"}) == "/h/.local/share/adapterhub/feedback.sqlite3"
