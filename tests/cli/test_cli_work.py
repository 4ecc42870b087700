"""train, evaluate, predict, verify and doctor with a base: what they write and what they tell."""

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import Cli

from adapterhub.adapter.folder import read_folder


@pytest.fixture
def served(cli: Cli, tiny_adapters: dict[str, Path]) -> Cli:
    """The command line over a registry with t/intents3 and t/entities, trained on the tiny base."""
    for name in ("intents3", "entities"):
        assert cli("publish", tiny_adapters[name], f"t/{name}").exit_code == 0
    return cli


def test_train_writes_a_folder_and_says_what_comes_next(cli: Cli, tiny_base_folder: Path, tiny_rows: dict[str, Path],
                                                        tmp_path: Path) -> None:
    ran = cli("train", "--task", "text-classification", "--data", tiny_rows["intents3"], "--output", tmp_path / "out",
              "--base", tiny_base_folder, "--epochs", 1, "--max-length", 32, "--rank", 2, "--licence", "CC0-1.0")
    assert ran.exit_code == 0, ran.err
    manifest = read_folder(tmp_path / "out").manifest
    assert (manifest.labels, manifest.method.rank) == (["card", "loan", "travel"], 2)
    assert manifest.data.licence == "CC0-1.0"
    assert "per class" in ran.out
    assert f"Next: adapterhub publish {tmp_path / 'out'} namespace/name" in ran.out


def test_train_gives_programs_its_figures(cli: Cli, tiny_base_folder: Path, tiny_rows: dict[str, Path],
                                          tmp_path: Path) -> None:
    told = cli("train", "--task", "token-classification", "--data", tiny_rows["entities"], "--output",
               tmp_path / "out", "--base", tiny_base_folder, "--epochs", 1, "--max-length", 32, "--targets",
               "attention.self.query,attention.self.value", "--json").json
    manifest = read_folder(tmp_path / "out").manifest
    assert told["folder"] == str(tmp_path / "out")
    assert told["metrics"]["entity_f1"] == manifest.metric("entity_f1")
    assert (told["epochs"], told["passes_per_step"], told["broken_checkpoints"]) == (1, 1, [])
    assert sorted(manifest.method.target_modules) == ["attention.self.query", "attention.self.value"]


def test_evaluate_measures_a_reference_and_a_folder_alike(served: Cli, tiny_base_folder: Path,
                                                          tiny_adapters: dict[str, Path],
                                                          tiny_rows: dict[str, Path]) -> None:
    given = ("--data", tiny_rows["intents3"], "--base", tiny_base_folder)
    by_reference = served("evaluate", "t/intents3", *given, "--json").json
    by_folder = served("evaluate", tiny_adapters["intents3"], *given, "--json").json
    assert by_reference["metrics"] == by_folder["metrics"]
    assert by_reference["n_rows"] == 42
    assert "accuracy" in served("evaluate", "t/intents3", *given).out


def test_predict_takes_a_folder_that_is_not_published(served: Cli, tiny_base_folder: Path,
                                                      tiny_adapters: dict[str, Path]) -> None:
    folder = tiny_adapters["intents5"]
    answer = served("predict", folder, "my card", "--base", tiny_base_folder).lines[0]
    assert (answer["version"], answer["digest"]) == (str(folder), read_folder(folder).digest)


def test_predict_answers_each_text_with_its_version(served: Cli, tiny_base_folder: Path,
                                                    tiny_adapters: dict[str, Path]) -> None:
    answers = served("predict", "t/intents3@1", "my card", "the loan", "--base", tiny_base_folder).lines
    assert [answer["version"] for answer in answers] == ["t/intents3@1"] * 2
    assert answers[0]["digest"] == read_folder(tiny_adapters["intents3"]).digest
    assert {top["label"] for top in answers[0]["result"]["top"]} == {"card", "loan", "travel"}


def rows_text(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


ROWS = [{"adapter": "t/intents3", "text": "my card"}, {"adapter": "t/entities", "text": "anna is in rome"},
        {"adapter": "t/intents3@1", "text": "the loan"}, {"adapter": "t/entities", "tokens": ["ben", "is", "new"]}]


def test_file_of_rows_mixes_adapters_in_order(served: Cli, tiny_base_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(rows_text(ROWS[:2]) + "\n\n" + rows_text(ROWS[2:]))
    answers = served("predict", "--file", tmp_path / "rows.jsonl", "--base", tiny_base_folder).lines
    assert [answer["reference"] for answer in answers] == [row["adapter"] for row in ROWS]
    assert [answer["task"] for answer in answers] == ["text-classification", "token-classification"] * 2


def test_rows_come_from_standard_input_and_may_leave_their_adapter_out(served: Cli, tiny_base_folder: Path) -> None:
    rows = [{"text": "my card"}, ROWS[1]]
    answers = served("predict", "t/intents3", "--file", "-", "--base", tiny_base_folder, text=rows_text(rows)).lines
    assert [answer["reference"] for answer in answers] == ["t/intents3", "t/entities"]


def test_many_rows_come_in_order_whatever_the_size_of_a_call(served: Cli, tiny_base_folder: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    def answers() -> list[Any]:
        text = rows_text(ROWS)
        return [answer["result"] for answer in
                served("predict", "--file", "-", "--base", tiny_base_folder, text=text).lines]
    whole = answers()
    monkeypatch.setattr("adapterhub.cli.predict.ROWS_PER_CALL", 3)
    for own, other in zip(answers(), whole, strict=True):
        assert own.get("label") == other.get("label")
        assert own.get("score", 0) == pytest.approx(other.get("score", 0), abs=1e-5)
        assert [e["word"] for e in own.get("entities", [])] == [e["word"] for e in other.get("entities", [])]


def test_verify_with_a_base_runs_the_probe(served: Cli, tiny_base_folder: Path) -> None:
    told = served("verify", "t/intents3", "--base", tiny_base_folder, "--json").json
    assert told["not_checked"] == []
    assert any("probe" in check for check in told["checks"])
    assert "Not checked" not in served("verify", "t/entities", "--base", tiny_base_folder).out


def test_doctor_tells_versions_and_places(cli: Cli, home: Path) -> None:
    told = cli("doctor", "--json").json
    assert told["registry"] == str(home / "registry")
    assert told["torch"].startswith("2.")
    assert told["adapters found"] == 0
    assert "native bfloat16" in cli("doctor").out


def test_doctor_goes_on_where_a_place_is_unusable(cli: Cli, home: Path) -> None:
    home.mkdir()
    (home / "registry").write_text("a file")
    assert cli("doctor", "--json").json["adapters found"].startswith("unusable: ")
