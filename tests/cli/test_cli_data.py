"""`data check` and what `train` says of its rows before it learns them."""

from pathlib import Path

import pytest
from command_line import Cli
from tiny import Rows, intent_rows, write_rows

from adapterhub.adapter.folder import read_folder


def rows_with_doubles() -> Rows:
    rows = [{**row, "text": f"{i} {row['text']}"} for i, row in enumerate(intent_rows(3))]
    return [*rows, {**rows[0], "text": rows[0]["text"].upper()}, {**rows[1], "label": "card"},
            {"text": "card " * 50, "label": "card"}]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.csv", rows_with_doubles())


def test_check_counts_rows_labels_doubles_and_lengths(cli: Cli, rows: Path, tiny_base_folder: Path) -> None:
    told = cli("data", "check", rows, "--task", "text-classification", "--base", tiny_base_folder, "--max-length", 32,
               "--json").json
    assert told["n_repeated"] == 1
    assert told["n_removed"] == 0
    assert [(conflict["text"], conflict["answers"]) for conflict in told["conflicts"]] == [
        ("1 the loan the", ["loan", "card"])]
    assert sum(part["n_rows"] for part in told["parts"].values()) == 45
    assert sum(part["labels"]["card"] for part in told["parts"].values()) == 17
    assert sum(part["lengths"]["n_cut"] for part in told["parts"].values()) == 1
    assert max(part["lengths"]["quantiles"]["100%"] for part in told["parts"].values()) == 52
    assert told["max_length"] == 32


def test_streamed_rows_are_told_alike(cli: Cli, rows: Path, tiny_base_folder: Path) -> None:
    given = ("data", "check", rows, "--task", "text-classification", "--base", tiny_base_folder, "--remove-duplicates",
             "--label-map", "travel=trip", "--json")
    assert cli(*given, "--stream").json == cli(*given).json


def test_check_says_in_sentences_what_it_found(cli: Cli, rows: Path, tiny_base_folder: Path) -> None:
    ran = cli("data", "check", rows, "--task", "text-classification", "--base", tiny_base_folder, "--max-length", 32)
    assert ran.exit_code == 0, ran.err
    for told in ("Rows of rows", "3 labels", "1 row is like an earlier one; ", "; all are kept, --remove-dup",
                 "1 text is there with answers that exclude each other.", "1 row is cut at 32 tokens: "):
        assert told in ran.out


def test_near_duplicates_are_told_and_left_out_where_that_is_asked(cli: Cli, tmp_path: Path,
                                                                   tiny_base_folder: Path) -> None:
    text = "the card that I ordered two weeks ago is not here yet, where is it now"
    rows = write_rows(tmp_path / "rows.csv", [
        *({**row, "text": f"{i} {row['text']} {i + 99}"} for i, row in enumerate(intent_rows(3))),
        {"text": text, "label": "card"}, {"text": f"Hello, {text}?", "label": "card"}])
    given = ("data", "check", rows, "--task", "text-classification", "--base", tiny_base_folder)
    ran = cli(*given, "--near-duplicates", 0.9)
    assert ran.exit_code == 0, ran.err
    assert "1 row is nearly like an earlier one; " in ran.out
    assert ran.out.partition("Texts that are nearly the same")[2].count("Hello, the card") == 1
    told = cli(*given, "--near-duplicates", 0.9, "--remove-duplicates", "--json").json
    assert (told["near"]["n_repeated"], told["n_repeated"], told["n_removed"]) == (1, 0, 1)
    assert cli(*given, "--near-duplicates", 0.2).refusal().startswith("near_duplicates is 0.2, expected 0.5 to 1.")


def test_training_tells_its_rows_first_and_keeps_what_was_done(cli: Cli, rows: Path, tiny_base_folder: Path,
                                                               tmp_path: Path) -> None:
    given = ("train", "--task", "text-classification", "--data", rows, "--base", tiny_base_folder, "--epochs", 1,
             "--max-length", 32, "--no-report", "--remove-duplicates", "--class-weights", "card=2",
             "--class-weights", "loan=0.5")
    ran = cli(*given, "--output", tmp_path / "out")
    assert ran.exit_code == 0, ran.err
    assert ran.out.index("Rows of rows") < ran.out.index("parameters trained")
    assert "left out." in ran.out
    kept = read_folder(tmp_path / "out").manifest.training.hyperparameters
    assert kept["class_weights"] == '{"card": 2.0, "loan": 0.5}'
    assert kept["remove_duplicates"] is True
    told = cli(*given, "--output", tmp_path / "again", "--json").json["data"]
    assert told["n_removed"] == kept["rows_removed"] > 0


def test_labels_are_renamed_and_weighed_by_a_file(cli: Cli, rows: Path, tiny_base_folder: Path,
                                                 tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("max_length = 32\n[label_map]\ntravel = 'trip'\n[class_weights]\ntrip = 3\n")
    ran = cli("train", "--task", "text-classification", "--data", rows, "--base", tiny_base_folder, "--epochs", 1,
              "--no-report", "--config", tmp_path / "run.toml", "--output", tmp_path / "out")
    assert ran.exit_code == 0, ran.err
    manifest = read_folder(tmp_path / "out").manifest
    assert manifest.labels == ["card", "loan", "trip"]
    assert manifest.training.hyperparameters["label_map"] == '{"travel": "trip"}'
    assert manifest.training.hyperparameters["class_weights"] == '{"trip": 3.0}'


@pytest.mark.parametrize(("option", "value", "told"), [
    ("--column", "text", "--column 'text' is not FIELD=COLUMN."),
    ("--column", "text=body", "has no column 'body'; it has text, label."),
    ("--label-map", "card", "--label-map 'card' is not OLD=NEW."),
    ("--label-map", "card=", "--label-map 'card=' is not OLD=NEW."),
    ("--label-map", "crad=x", "Unknown label in label_map 'crad'; known: card, loan, travel. Did you mean card?"),
    ("--class-weights", "even", "class_weights is 'even', expected balanced or a weight for each label."),
    ("--class-weights", "card=much", "--class-weights 'card=much' is neither balanced nor LABEL=WEIGHT."),
    ("--class-weights", "card=0", "The class weight of 'card' is 0.0, expected a number above 0."),
])
def test_options_at_fault_are_refused(option: str, value: str, told: str, cli: Cli, rows: Path,
                                      tiny_base_folder: Path, tmp_path: Path) -> None:
    sentence = cli("train", "--task", "text-classification", "--data", rows, "--base", tiny_base_folder,
                   "--output", tmp_path / "out", option, value).refusal()
    assert sentence.startswith(told) or told in sentence
    assert not (tmp_path / "out").exists()


def test_a_context_without_its_answer_is_named_by_its_row(cli: Cli, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "rows.jsonl", [
        {"question": "who", "context": "anna is here", "answers": {"text": ["anna"], "answer_start": [0]}},
        {"question": "who", "context": "ben is here", "answers": {"text": ["anna"], "answer_start": [0]}}])
    sentence = cli("data", "check", data, "--task", "question-answering").refusal()
    assert "row 2 has the answer 'anna', which its context does not hold at character 0" in sentence


def test_a_task_that_is_not_there_is_refused(cli: Cli, rows: Path) -> None:
    assert "Unknown task 'text-clasification'" in cli("data", "check", rows, "--task", "text-clasification").refusal()
    assert cli("data", "check", rows).refusal().startswith("A run needs task")
