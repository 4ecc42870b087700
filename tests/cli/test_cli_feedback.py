"""`adapterhub feedback`: listed, exported, counted and forgotten, as tables and as JSON."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Cli

from adapterhub.feedback.records import Feedback, KeptAnswer, KeptTexts
from adapterhub.feedback.store import FeedbackStore
from adapterhub.feedback.writing import add_answers, add_feedback

HOUR_MS = 3_600_000


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Four answers an hour apart, of two versions by two holders, three of them judged, all with texts."""
    place = tmp_path / "feedback.sqlite3"
    answers = [KeptAnswer(id=f"ans_{i}", at_ms=i * HOUR_MS, holder="desk" if i < 2 else "lab",
                          reference="support/intents", version=f"support/intents@{1 + i // 2}", digest="0" * 64,
                          task="text-classification", label="card", seconds=0.01) for i in range(4)]
    texts = [KeptTexts(answer_id=own.id, row={"text": f"text {own.id}"}, result={}) for own in answers]
    said = [Feedback(answer_id="ans_0", holder="desk", at_ms=10, rating=1.0),
            Feedback(answer_id="ans_1", holder="desk", at_ms=HOUR_MS, label="loan"),
            Feedback(answer_id="ans_2", holder="lab", at_ms=2 * HOUR_MS, label="card", rating=0.5)]
    store = FeedbackStore(str(place))
    store.write(lambda connection: add_answers(connection, answers, texts))
    for one in said:
        store.write(lambda connection, one=one: add_feedback(connection, one))  # type: ignore[misc]
    store.close()
    return place


def test_list_shows_the_newest_first(cli: Cli, place: Path) -> None:
    shown = cli("feedback", "list", "--feedback", place)
    assert shown.exit_code == 0
    assert [line for line in ("ans_2", "ans_1", "ans_0") if line in shown.out] == ["ans_2", "ans_1", "ans_0"]
    assert "loan" in shown.out
    listed = cli("feedback", "list", "--feedback", place, "--json", "--limit", 2).json
    assert [line["answer"] for line in listed] == ["ans_2", "ans_1"]
    assert listed[0] | {"row": {"text": "text ans_2"}, "rating": 0.5, "label": "card", "said_by": "lab",
                        "version": "support/intents@2", "said_at": "1970-01-01T02:00:00+00:00"} == listed[0]


@pytest.mark.parametrize(("arguments", "expected"), [
    (("--holder", "lab"), ["ans_2"]), (("--since", "1970-01-01T01:00"), ["ans_2", "ans_1"]),
    (("--until", "1970-01-01T01:00:00+00:00"), ["ans_0"]), (("--adapter", "news/topics"), []),
    (("--adapter", "support/intents"), ["ans_2", "ans_1", "ans_0"]),
])
def test_what_is_listed_can_be_chosen(cli: Cli, place: Path, arguments: tuple[str, ...], expected: list[str]) -> None:
    assert [line["answer"] for line in cli("feedback", "list", "--feedback", place, "--json",
                                           *arguments).json] == expected


def test_export_writes_all_or_rows_to_train_on(cli: Cli, place: Path, tmp_path: Path) -> None:
    everything, rows = tmp_path / "all.jsonl", tmp_path / "rows.jsonl"
    assert cli("feedback", "export", everything, "--feedback", place, "--json").json["n_rows"] == 3
    assert "2 rows" in cli("feedback", "export", rows, "--feedback", place, "--as-training-rows").out
    assert [json.loads(line)["answer"] for line in everything.read_text().splitlines()] == ["ans_0", "ans_1", "ans_2"]
    assert [json.loads(line) for line in rows.read_text().splitlines()] == [
        {"text": "text ans_1", "label": "loan"}, {"text": "text ans_2", "label": "card"}]
    assert cli("feedback", "export", "-", "--feedback", place, "--as-training-rows").out == rows.read_text()


def test_stats_count_by_version(cli: Cli, place: Path) -> None:
    first, second = cli("feedback", "stats", "--feedback", place, "--json").json
    assert first == {"version": "support/intents@1", "answers": 2, "judged": 2, "ratings": 1, "mean_rating": 1.0,
                     "labels": 1, "right": 0, "accuracy": 0.0}
    assert (second["answers"], second["judged"], second["accuracy"]) == (2, 1, 1.0)
    table = cli("feedback", "stats", "--feedback", place).out
    assert "50.0%" in table
    assert "support/intents@2" in table


def test_forget_takes_one_a_holder_or_a_period(cli: Cli, place: Path) -> None:
    def forget(*arguments: str) -> list[int]:
        gone = cli("feedback", "forget", *arguments, "--yes", "--json", "--feedback", place).json
        return [gone[name] for name in ("answers", "feedback", "texts")]
    assert forget("ans_0") == [1, 1, 2]
    assert forget("--since", "1970-01-01T01:00", "--until", "1970-01-01T02:00") == [1, 1, 2]
    assert forget("--holder", "lab") == [2, 1, 4]
    assert forget("ans_0") == [0, 0, 0]
    files = b"".join(path.read_bytes() for path in place.parent.glob("feedback*"))
    assert b"text ans" not in files


def test_forget_asks_first_and_what_it_is_about(cli: Cli, place: Path) -> None:
    declined = cli("feedback", "forget", "ans_0", "--feedback", place, text="n\n")
    assert declined.exit_code == 1
    assert "Forget answer ans_0 for good?" in declined.err
    assert len(cli("feedback", "list", "--feedback", place, "--json").json) == 3
    assert "Forgot 1 answers" in cli("feedback", "forget", "ans_0", "--feedback", place, text="y\n").out
    for arguments in ((), ("ans_0", "--holder", "lab"), ("--holder", "x", "--since", "2020-01-01")):
        assert "one of" in cli("feedback", "forget", *arguments, "--yes", "--feedback", place).refusal()


def test_expire_forgets_what_is_past_its_time(cli: Cli, place: Path) -> None:
    assert cli("feedback", "expire", "--feedback", place, "--keep-answers", 100_000, "--json").json == {
        "answers": 0, "feedback": 0, "texts": 8}
    assert "Forgot 4 answers, 3" in cli("feedback", "expire", "--feedback", place).out


def test_place_without_feedback_is_told(cli: Cli, place: Path, tmp_path: Path) -> None:
    for command in (("list",), ("stats",), ("expire",), ("export", "x.jsonl"), ("forget", "a", "--yes")):
        told = cli("feedback", *command, "--feedback", tmp_path / "missing").refusal()
        assert "holds no feedback" in told
    assert "nosuch" in cli("feedback", "list", "--feedback", "nosuch://a/b").refusal()
    assert "namespace/name" in cli("feedback", "list", "--adapter", "x", "--feedback", place).refusal()
