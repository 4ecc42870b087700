"""Bad input gets one sentence with the value and the next step, exit code 2, and nothing is written."""

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapter_folders import FINGERPRINT, MODULES, Corruption, edit_manifest, write_adapter_folder
from command_line import Cli, tree
from tiny import entity_rows, intent_rows, write_rows, write_tiny_base

from adapterhub.adapter.folder import FOLDER_FILES
from adapterhub.adapter.peft_config import PREFIX, WEIGHTS_FILE

TEXTS, TAGS = "text-classification", "token-classification"
GOOD = intent_rows(2, 8)


def written(place: Path, rows: list[dict[str, Any]]) -> Path:
    return write_rows(place / "rows.jsonl", rows)


def text_file(name: str, text: str) -> Callable[[Path], Path]:
    def write(place: Path) -> Path:
        (place / name).write_text(text)
        return place / name
    return write


def rows(rows: list[dict[str, Any]]) -> Callable[[Path], Path]:
    return lambda place: written(place, rows)


def _utf16(file: Path) -> Path:
    file.write_bytes("text,label\na,x\n".encode("utf-16"))
    return file


# What is wrong -> task, the data, further options, what the sentence holds
TRAINING: dict[str, tuple[str, Callable[[Path], Path], tuple[object, ...], tuple[str, ...]]] = {
    "no such file": (TEXTS, lambda place: place / "rowz.csv", (), ("No such file: ", "rowz.csv")),
    "no such folder": (TEXTS, lambda place: place / "none" / "rows", (), ("none/rows",)),
    "empty file": (TEXTS, text_file("rows.csv", ""), (), ("rows.csv has no rows",)),
    "a header alone": (TEXTS, text_file("rows.csv", "text,label\n"), (), ("rows.csv has no rows",)),
    "unknown kind of file": (TEXTS, text_file("rows.xlsx", "text"), (), ("rows.xlsx", ".jsonl")),
    "malformed line": (TEXTS, text_file("rows.jsonl", '{"text": '), (), ("Line 1", "malformed JSON")),
    "row without label": (TEXTS, rows([*GOOD, {"text": "a", "label": ""}]), (), ("row 17 has no label",)),
    "row without text": (TEXTS, rows([{"text": " ", "label": "x"}, *GOOD]), (), ("row 1 has no text",)),
    "no such column": (TEXTS, rows(GOOD), ("--column", "label=intent"), ("no column 'intent'", "text, label")),
    "column option malformed": (TEXTS, rows(GOOD), ("--column", "label"), ("--column 'label' is not FIELD=COLUMN",)),
    "one class only": (TEXTS, rows(intent_rows(1, 12)), (), ("label 'card'", "at least two labels")),
    "the same labels in every row": ("multi-label-classification", rows([{"text": f"a {i}", "labels": ["x", "y"]}
                                                                         for i in range(30)]), (),
                                     ("training rows have the same labels: x, y", "rows that differ")),
    "one answer to every question": ("sentence-similarity", rows([{"query": f"a {i}", "answer": "the"}
                                                                  for i in range(30)]), (),
                                     ("training pairs have the answer 'the'", "pairs that differ")),
    "an encoder that should write": ("text2text-generation", rows([{"prompt": f"a {i}", "completion": "b"}
                                                                    for i in range(30)]), (),
                                     ("is no encoder-decoder, which text2text-generation needs",)),
    "a file in UTF-16": (TEXTS, lambda place: _utf16(place / "rows.csv"), (), ("rows.csv is not UTF-8", "-f utf-16")),
    "class too rare to split": (TEXTS, rows([*GOOD, {"text": "a", "label": "rare"}]), (),
                                ("Too few rows to split", "rare (1)", "at least 3 rows")),
    "unequal tokens and tags": (TAGS, rows([*entity_rows(9), {"tokens": ["a", "b"], "tags": ["O"]}]), (),
                                ("row 10 has 2 tokens and 1 tags",)),
    "bad tag": (TAGS, rows([{"tokens": ["a"], "tags": ["PER"]}]), (), ("the tag 'PER'",)),
    "unknown task": ("text-clasification", rows(GOOD), (), ("Unknown task", "Did you mean text-classification")),
    "unknown method": (TEXTS, rows(GOOD), ("--method", "lorra"), ("Unknown method 'lorra'", "lora")),
    "a method that gives no adapter": (TEXTS, rows(GOOD), ("--method", "full"), ("'full'", "--method lora")),
    "unknown metric": (TEXTS, rows(GOOD), ("--metric", "acuracy"), ("'acuracy'", "Did you mean accuracy?")),
    "rank out of range": (TEXTS, rows(GOOD), ("--rank", "0"), ("rank is 0, expected 1 to 256",)),
    "rate out of range": (TEXTS, rows(GOOD), ("--learning-rate", "-1"), ("learning_rate is -1",)),
    "no epochs": (TEXTS, rows(GOOD), ("--epochs", "0"), ("epochs is 0",)),
    "unknown layer": (TEXTS, rows(GOOD), ("--targets", "q_proj"), ("'q_proj'", "query")),
    "length beyond the base": (TEXTS, rows(GOOD), ("--max-length", "4096"), ("4096", "--max-length 64")),
    "unknown base": (TEXTS, rows(GOOD), ("--base", "./no-base"), ("No such base folder: ./no-base",)),
    "parent that is no folder": (TEXTS, rows(GOOD), ("--continue-from", "./nothing"),
                               ("No such adapter folder: nothing",)),
}


@pytest.mark.parametrize("name", TRAINING)
def test_training_refuses(name: str, cli: Cli, tiny_base_folder: Path, tmp_path: Path) -> None:
    task, data_of, options, told = TRAINING[name]
    data = data_of(tmp_path)
    before = tree(tmp_path)
    ran = cli("train", "--task", task, "--data", data, "--output", tmp_path / "out", "--base", tiny_base_folder,
              "--max-length", 32, "--epochs", 1, *options)
    sentence = ran.refusal()
    assert all(part in sentence for part in told), sentence
    assert tree(tmp_path) == before


def test_training_refuses_an_output_that_holds_something(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("kept")
    data = written(tmp_path, GOOD)
    sentence = cli("train", "--task", TEXTS, "--data", data, "--output", tmp_path / "out").refusal()
    assert f"{tmp_path / 'out'} exists already" in sentence
    assert (tmp_path / "out" / "mine.txt").read_text() == "kept"


def test_continuing_refuses_other_labels(cli: Cli, tiny_base_folder: Path, tiny_adapters: dict[str, Path],
                                         tmp_path: Path) -> None:
    data = written(tmp_path, intent_rows(2, 12))
    sentence = cli("train", "--task", TEXTS, "--data", data, "--output", tmp_path / "out", "--base", tiny_base_folder,
                   "--max-length", 32, "--continue-from", tiny_adapters["intents3"]).refusal()
    assert "labels" in sentence
    assert not (tmp_path / "out").exists()


def without(part: str) -> Corruption:
    return Corruption(tensors=lambda tensors: {name: value for name, value in tensors.items() if part not in name})


def filled(part: str, value: float) -> Corruption:
    return Corruption(tensors=lambda tensors: {name: np.full_like(array, value) if part in name else array
                                               for name, array in tensors.items()})


# What is wrong in the folder -> how it is made, what the sentence holds
FOLDERS: dict[str, tuple[Corruption, tuple[str, ...]]] = {
    "missing tensor": (without("layer.0.attention.self.query.lora_A"), ("lora_A.weight is missing",)),
    "unexpected tensor": (Corruption(tensors=lambda tensors: tensors | {
        f"{PREFIX}bert.embeddings.word_embeddings.weight": np.ones((4, 8), "f4")}), ("is unexpected",)),
    "truncated tensors": (Corruption(weights=lambda data: data[:-20]), (WEIGHTS_FILE, "truncated")),
    "non-finite tensors": (filled("classifier.weight", float("nan")), ("holds NaN or infinity",)),
    "all-zero tensors": (filled("lora_B", 0.0), ("every lora_B is zero",)),
    "a head that does not fit its labels": (Corruption(manifest=lambda m: replace(m, labels=["a", "b"])),
                                            ("3 outputs, the manifest has 2 labels",)),
    "another rank than stated": (Corruption(config={"r": 4}), ("expected rank 4",)),
    "a tensor of no target": (Corruption(config={"target_modules": ["value"]}), (MODULES[0], "is no target")),
    "a method that is not served": (Corruption(config={"peft_type": "LOHA"}), ("method LOHA is not served",)),
    "a newer format": (Corruption(manifest=lambda m: replace(m, format=99)), ("format 99", "Update adapterhub")),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_publishing_refuses_a_folder_with(name: str, cli: Cli, home: Path, tmp_path: Path) -> None:
    corruption, told = FOLDERS[name]
    folder = write_adapter_folder(tmp_path / "a", corruption=corruption)
    sentence = cli("publish", folder, "support/intents").refusal()
    assert all(part in sentence for part in told), sentence
    assert str(folder) in sentence
    assert not home.exists()


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def add_pickle(folder: Path) -> None:
    (folder / "adapter_model.bin").write_bytes(b"\x80\x04.")


def link_out(folder: Path) -> None:
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to("/etc/hostname")


def name_outside(folder: Path) -> None:
    edit_manifest(folder, files={"../../elsewhere.json": {"sha256": "0" * 64, "size_bytes": 1}})


SPOILT: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "a changed byte": (lambda folder: flip(folder / WEIGHTS_FILE), (WEIGHTS_FILE, "digest")),
    "a changed card": (lambda folder: flip(folder / "README.md"), ("README.md", "digest")),
    "a pickle": (add_pickle, ("adapter_model.bin may be a pickle",)),
    "a missing file": (lambda folder: (folder / WEIGHTS_FILE).unlink(), (f"{WEIGHTS_FILE} is missing",)),
    "a link that leads out of it": (link_out, ("README.md is a symbolic link",)),
    "a listed path that leaves it": (name_outside, ("../../elsewhere.json",)),
    "a further file": (lambda folder: (folder / "notes.txt").write_text("x"), ("notes.txt is unexpected",)),
    "a manifest that is no JSON": (lambda folder: (folder / "adapterhub.json").write_text("{"), ("adapterhub.json",)),
    "no files": (lambda folder: [path.unlink() for path in folder.iterdir()], ("is missing",)),
}


@pytest.mark.parametrize("name", SPOILT)
def test_publishing_refuses_a_spoilt_folder_with(name: str, cli: Cli, home: Path, tmp_path: Path) -> None:
    spoil, told = SPOILT[name]
    folder = write_adapter_folder(tmp_path / "a")
    spoil(folder)
    sentence = cli("publish", folder, "support/intents").refusal()
    assert all(part in sentence for part in told), sentence
    assert not home.exists()


NEAR = "Did you mean support/intents?"
# The command line over support/intents 1 and 2 and news/topics 1 -> what its sentence holds
COMMANDS: dict[str, tuple[tuple[object, ...], tuple[str, ...]]] = {
    "show of an unknown adapter": (("show", "support/intent"), ("No adapter 'support/intent'", NEAR)),
    "show of an unknown version": (("show", "support/intents@9"), ("support/intents@9", "highest version is 2")),
    "show of an unknown alias": (("show", "support/intents@prod"), ("support/intents@prod", "no alias")),
    "show of an unknown digest": (("show", "support/intents@sha256:" + "0" * 12), ("sha256:000000000000",)),
    "show of no reference": (("show", "Support Intents"), ("'Support Intents' is not a reference",
                                                           "Write namespace/name")),
    "show of a path": (("show", "../../etc/passwd"), ("is not a reference",)),
    "pull of an unknown adapter": (("pull", "support/intent", "OUT"), (NEAR,)),
    "pull into a file": (("pull", "support/intents", "FILE"), ("exists already",)),
    "verify of an unknown adapter": (("verify", "suport/intents"), (NEAR,)),
    "promote of an unknown version": (("promote", "support/intents@7", "production"), ("support/intents@7",)),
    "promote to a bad alias": (("promote", "support/intents@1", "Prod!"), ("'Prod!' cannot be an alias",)),
    "promote to latest": (("promote", "support/intents@1", "latest"), ("names no alias", "@production")),
    "rollback of what never moved": (("rollback", "support/intents@production"), ("production", "never moved")),
    "rollback of no alias": (("rollback", "support/intents"), ("names no alias",)),
    "history of no alias": (("history", "support/intents@2"), ("names no alias",)),
    "publish of no folder": (("publish", "NOWHERE", "a/b"), ("No such adapter folder",)),
    "publish of a file": (("publish", "FILE", "a/b"), ("No such adapter folder",)),
    "publish under no name": (("publish", "FIRST", "intents"), ("'intents' is not a reference",)),
    "publish out of the registry": (("publish", "FIRST", "../intents"), ("'../intents' is not a reference",)),
    "publish under a version's name": (("publish", "FIRST", "a/b@2"), ("Use a/b",)),
    "publish of a version that exists": (("publish", "FIRST", "support/intents", "--version", 2),
                                         ("support/intents@2 is taken", "version 3")),
    "publish of version 0": (("publish", "FIRST", "support/intents", "--version", 0), ("version is 0",)),
    "publish under a bad alias": (("publish", "FIRST", "a/b", "--alias", "1st"), ("'1st' cannot be an alias",)),
    "a registry that is a file": (("list", "--registry", "FILE"), ("is a file, not the folder of a registry",)),
    "a registry without a name": (("list", "--registry", ""), ("--registry is empty",)),
    "a registry of unknown kind": (("list", "--registry", "ftp://x"), ("Unknown registry address 'ftp'",)),
    "predict of an unknown adapter": (("predict", "support/intent", "a text"), (NEAR,)),
    "predict of rows of an unknown adapter": (("predict", "--file", "UNKNOWN"), (NEAR,)),
    "predict of no such file": (("predict", "--file", "NOWHERE"), ("No such file",)),
    "predict of an empty file": (("predict", "--file", "EMPTY"), ("has no rows",)),
    "predict of a line that is no JSON": (("predict", "--file", "BROKEN"), ("line 2 is no JSON", "namespace/name")),
    "predict of a row without adapter": (("predict", "--file", "NAMELESS"), ("line 1 names no adapter",)),
    "predict of a row that is no object": (("predict", "--file", "LIST"), ("line 1 names no adapter",)),
    "predict of bytes that are no text": (("predict", "--file", "BINARY"), ("is not UTF-8",)),
    "evaluate of an unknown adapter": (("evaluate", "support/intent", "--data", "FILE"), (NEAR,)),
    "demo into a folder of something else": (("demo", "--output", "FIRST"), ("first", "--output")),
}


def fill(place: Path) -> None:
    (place / "FILE").write_text("a file")
    (place / "EMPTY").write_text("\n\n")
    good = '{"adapter": "support/intents", "text": "a"}\n'
    (place / "BROKEN").write_text(good + "{text: a}\n")
    (place / "UNKNOWN").write_text(good + good.replace("intents", "intent"))
    (place / "NAMELESS").write_text('{"text": "a"}\n' + good)
    (place / "LIST").write_text('["support/intents", "a"]\n')
    (place / "BINARY").write_bytes(b"\xff\xfe\x00")


@pytest.mark.parametrize("name", COMMANDS)
def test_command_refuses(name: str, published: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments, told = COMMANDS[name]
    fill(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = tree(tmp_path)
    sentence = published(*("first" if argument == "FIRST" else argument for argument in arguments)).refusal()
    assert all(part in sentence for part in told), sentence
    assert tree(tmp_path) == before


@pytest.mark.parametrize("file", FOLDER_FILES)
def test_flipped_byte_in_the_registry_is_refused_by_whoever_reads_it(file: str, published: Cli, home: Path,
                                                                     tmp_path: Path) -> None:
    flip(home / "registry" / "support" / "intents" / "versions" / "2" / file)
    for command in (("verify", "support/intents"), ("show", "support/intents"),
                    ("pull", "support/intents", tmp_path / "pulled")):
        sentence = published(*command).refusal()
        assert file in sentence or "adapterhub.json" in sentence
    assert not (tmp_path / "pulled").exists()
    assert published("verify", "support/intents@1").exit_code == 0


def test_adapter_of_another_base_is_refused_with_both_short_fingerprints(cli: Cli, tiny_adapters: dict[str, Path],
                                                                         tmp_path: Path) -> None:
    cli("publish", tiny_adapters["intents3"], "t/intents")
    other = write_tiny_base(tmp_path / "other-base", seed=1)
    own = cli("list", "--json").json[0]["base_fingerprint"]
    for command in (("predict", "t/intents", "my card"), ("verify", "t/intents"),
                    ("evaluate", "t/intents", "--data", written(tmp_path, intent_rows(3)))):
        sentence = cli(*command, "--base", other).refusal()
        assert f"was trained on base {own[:12]}, this base is " in sentence
        found = sentence.partition("this base is ")[2][:12]
        assert len(found) == 12
        assert found not in (own[:12], FINGERPRINT[:12])


def test_row_that_its_task_cannot_read_is_told_by_its_line_before_any_answer(cli: Cli, tiny_base_folder: Path,
                                                                             tiny_adapters: dict[str, Path],
                                                                             tmp_path: Path) -> None:
    cli("publish", tiny_adapters["intents3"], "t/intents")
    good = '{"adapter": "t/intents", "text": "my card"}\n'
    (tmp_path / "r.jsonl").write_text(good * 2 + '{"adapter": "t/intents", "txt": "my card"}\n' + good)
    sentence = cli("predict", "--file", tmp_path / "r.jsonl", "--base", tiny_base_folder).refusal()
    assert "r.jsonl line 3" in sentence
    assert "no text" in sentence
    assert "text 2" in cli("predict", "t/intents", "my card", " ", "--base", tiny_base_folder).refusal()


def test_text_longer_than_the_base_reads_is_refused_unless_it_may_be_cut(cli: Cli, tiny_base_folder: Path,
                                                                         tiny_adapters: dict[str, Path]) -> None:
    cli("publish", tiny_adapters["intents3"], "t/intents")
    given = ("predict", "t/intents", "my card", "card " * 100, "--base", tiny_base_folder)
    sentence = cli(*given).refusal()
    assert "text 2 is longer than the 64 tokens" in sentence
    assert "--truncate" in sentence
    assert len(cli(*given, "--truncate").lines) == 2


def test_label_that_the_adapter_does_not_know_is_refused(cli: Cli, tiny_base_folder: Path,
                                                         tiny_adapters: dict[str, Path], tmp_path: Path) -> None:
    data = written(tmp_path, intent_rows(5))
    sentence = cli("evaluate", tiny_adapters["intents3"], "--data", data, "--base", tiny_base_folder).refusal()
    assert "'food'" in sentence


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_full_disk_keeps_nothing_of_a_training(cli: Cli, tiny_base_folder: Path, tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    data = written(tmp_path, GOOD)
    before = tree(tmp_path)
    monkeypatch.setattr(os, "fsync", no_space)
    sentence = cli("train", "--task", TEXTS, "--data", data, "--output", tmp_path / "out", "--base", tiny_base_folder,
                   "--max-length", 32, "--epochs", 1).refusal()
    assert "No space left on the device" in sentence
    assert tree(tmp_path) == before


def test_full_disk_publishes_and_pulls_nothing(published: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def files(place: Path) -> dict[str, bytes | None]:
        return {name: data for name, data in tree(place).items() if data is not None}
    before = files(tmp_path)
    monkeypatch.setattr(os, "fsync", no_space)
    assert "No space left on the device" in published("publish", tmp_path / "first", "a/b").refusal()
    assert "No space left on the device" in published("pull", "news/topics", tmp_path / "pulled").refusal()
    monkeypatch.undo()
    assert files(tmp_path) == before
    assert "No adapter 'a/b'" in published("show", "a/b").err


def test_predict_without_anything_to_answer_is_refused_as_usage(cli: Cli) -> None:
    ran = cli("predict")
    assert ran.exit_code == 2
    assert "Give an adapter and texts, or --file." in ran.err
