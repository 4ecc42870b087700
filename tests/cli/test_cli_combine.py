"""`diff`, `merge`, `convert`, `export` and `show --tree` at the command line."""

import json
import shutil
from pathlib import Path

import pytest
from adapter_folders import edit_manifest, write_adapter_folder
from command_line import Cli, tree
from peft import LoHaConfig
from peft_folders import write_peft_folder

from adapterhub.adapter.folder import FOLDER_FILES
from adapterhub.files import sha256_of_file
from adapterhub.registry.records import VersionRecord, to_bytes
from adapterhub.settings import Settings


def test_diff_prints_what_differs_with_the_largest_layers_first(published: Cli) -> None:
    done = published("diff", "support/intents@1", "support/intents@2", "--layers", "1")
    assert done.exit_code == 0
    assert "Change of each layer, Frobenius norms (1 of 2)" in done.out
    assert "all layers" in done.out
    assert "3 labels in both." in done.out
    assert "classifier.weight" in done.out


def test_diff_as_json_has_every_layer(published: Cli, tmp_path: Path) -> None:
    folder = write_adapter_folder(tmp_path / "folder", seed=2)
    found = published("diff", "support/intents@1", folder, "--json").json
    assert len(found["layers"]) == 2
    assert found["whole"]["difference_norm"] > 0
    assert found["not_compared"] == []


@pytest.mark.parametrize("arguments", [("support/intents", "support/absent"), ("nowhere", "support/intents")])
def test_diff_of_what_is_not_there_is_refused(published: Cli, arguments: tuple[str, str]) -> None:
    assert published("diff", *arguments).refusal()


@pytest.fixture
def namesake(published: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line in a folder that holds support/intents too, another adapter than the registry's, and drafts/."""
    here = tmp_path / "here"
    write_adapter_folder(here / "support" / "intents", seed=5)
    write_adapter_folder(here / "drafts", seed=5)
    write_adapter_folder(here / "support" / "drafts", seed=5)
    monkeypatch.chdir(here)
    return published


def test_reference_is_the_registrys_whatever_folder_lies_here(namesake: Cli) -> None:
    done = namesake("diff", "support/intents", "support/intents@2", "--json")
    assert done.json["whole"]["difference_norm"] == pytest.approx(0, abs=1e-5)  # float32's rounding
    assert done.err == "support/intents is the registry's; for the folder of that name here, write ./support/intents.\n"


@pytest.mark.parametrize("text", ["./support/intents", "support/intents/", "../here/support/intents", "drafts"])
def test_path_is_the_folder_and_nothing_is_said(text: str, namesake: Cli, tmp_path: Path) -> None:
    done = namesake("diff", text, tmp_path / "here" / "drafts", "--json")
    assert done.json["whole"]["difference_norm"] == pytest.approx(0, abs=1e-5)
    assert done.err == ""


@pytest.mark.parametrize("arguments", [("diff", "support/drafts", "support/intents@1"),
                                       ("convert", "support/drafts", "--output", "made"),
                                       ("merge", "support/drafts", "--output", "made"),
                                       ("export", "support/drafts", "--output", "made"),
                                       ("evaluate", "support/drafts", "--data", "rows.csv")])
def test_folder_written_like_a_reference_is_told_how_to_be_written(arguments: tuple[str, ...], namesake: Cli) -> None:
    sentence = namesake(*arguments).refusal()
    assert sentence.startswith("No adapter 'support/drafts' in ")
    assert sentence.endswith("For the folder of that name here, write ./support/drafts.")


def test_empty_text_is_not_the_current_folder(published: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_adapter_folder(tmp_path / "here"))
    assert "is not a reference" in published("diff", "", "support/intents").refusal()


@pytest.fixture
def trained(cli: Cli, tiny_adapters: dict[str, Path]) -> Cli:
    """The command line over a registry with three adapters of the tiny base: a/intents 1 and 2, a/others 1."""
    for name, adapter in (("a/intents", "intents3"), ("a/intents", "query-only"), ("a/others", "intents5")):
        assert cli("publish", tiny_adapters[adapter], name).exit_code == 0
    return cli


def test_merge_publishes_a_version_with_parents_error_and_its_own_figures(trained: Cli, tiny_base_folder: Path,
                                                                          tiny_rows: dict[str, Path]) -> None:
    done = trained("merge", "a/intents@1", "a/intents@2", "--weights", "0.7,0.3", "--method", "svd", "--publish",
                   "a/merged", "--base", tiny_base_folder, "--data", tiny_rows["intents3"], "--json").json
    digests = [trained("show", f"a/intents@{number}", "--json").json["digest"] for number in (1, 2)]
    assert done["reference"] == "a/merged@1"
    assert done["parents"] == [f"a/intents@sha256:{digest}" for digest in digests]
    assert 0 < done["relative_error"] < 1
    assert set(done["metrics"]) == {"accuracy", "macro_f1", "ece"}
    shown = trained("show", "a/merged", "--json").json["manifest"]
    assert shown["combination"]["weights"] == [0.7, 0.3]
    assert {metric["name"]: metric["value"] for metric in shown["metrics"]} == done["metrics"]
    measured = trained("evaluate", "a/merged", "--data", tiny_rows["intents3"], "--base", tiny_base_folder, "--json")
    assert measured.json["metrics"] == pytest.approx(done["metrics"])


def test_made_adapters_parent_is_the_registrys_or_the_folders_as_it_was_written(
        trained: Cli, tiny_base_folder: Path, tiny_adapters: dict[str, Path], tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(tiny_adapters["intents3"], tmp_path / "a" / "intents")  # the registry's version 1
    monkeypatch.chdir(tmp_path)
    digests = [trained("show", f"a/intents@{number}", "--json").json["digest"] for number in (1, 2)]
    made = {text: trained("convert", text, "--rank", "4", "--output", tmp_path / f"made-{number}", "--base",
                          tiny_base_folder, "--json") for number, text in enumerate(("a/intents", "a/intents/"))}
    assert made["a/intents"].json["parents"] == [f"a/intents@sha256:{digests[1]}"]
    assert made["a/intents/"].json["parents"] == [f"sha256:{digests[0]}"]
    assert "write ./a/intents." in made["a/intents"].err


def test_merge_writes_a_folder_and_says_what_is_next(trained: Cli, tiny_base_folder: Path, tmp_path: Path) -> None:
    done = trained("merge", "a/intents@2", "a/others", "--head-from", "a/others", "--output", tmp_path / "made",
                   "--base", tiny_base_folder)
    assert done.exit_code == 0, done.err
    assert "Not measured on rows; --data does that." in done.out
    assert f"Next: adapterhub publish {tmp_path / 'made'} namespace/name" in done.out
    assert trained("publish", tmp_path / "made", "a/merged").exit_code == 0


def test_convert_lowers_a_rank_and_tells_the_error(trained: Cli, tiny_base_folder: Path, tmp_path: Path) -> None:
    done = trained("convert", "a/intents@1", "--rank", "3", "--output", tmp_path / "made", "--publish", "a/smaller",
                   "--base", tiny_base_folder)
    assert done.exit_code == 0, done.err
    assert "Rank 3," in done.out
    assert "Its outputs on the probe differ by" in done.out
    assert "Published a/smaller@1" in done.out
    assert (tmp_path / "made" / "adapterhub.json").is_file()


BAD_MERGES = {
    "one adapter": (("a/intents",), "1 adapter is given, expected at least two to merge."),
    "too many weights": (("a/intents@1", "a/intents@2", "--weights", "1,2,3"), "There are 3 weights for 2 adapters."),
    "no numbers": (("a/intents@1", "a/intents@2", "--weights", "much,little"), "--weights 'much,little' are no num"),
    "an unknown method": (("a/intents@1", "a/intents@2", "--method", "sum"), "Unknown merge method 'sum'"),
    "another's head": (("a/intents@1", "a/intents@2", "--head-from", "a/others"), "--head-from a/others is none of"),
    "unequal labels": (("a/intents@1", "a/others"), "different labels: food, sport in one only."),
    "no rows": (("a/intents@1", "a/intents@2", "--method", "svd", "--data", "absent.csv"), "No such file: absent.csv"),
    "unequal ranks": (("a/intents@1", "a/intents@2", "--method", "linear"), "Method linear needs equal ranks"),
}


@pytest.mark.parametrize("fault", BAD_MERGES)
def test_merge_refuses_with_one_sentence_and_leaves_nothing(fault: str, trained: Cli, tiny_base_folder: Path,
                                                            tmp_path: Path) -> None:
    arguments, sentence = BAD_MERGES[fault]
    before = tree(tmp_path)
    done = trained("merge", *arguments, "--output", tmp_path / "made", "--base", tiny_base_folder)
    assert sentence in done.refusal()
    assert tree(tmp_path) == before


@pytest.mark.parametrize("command", [("merge", "a/intents@1", "a/intents@2"), ("convert", "a/intents")])
def test_made_adapter_needs_a_place_to_go(command: tuple[str, ...], trained: Cli) -> None:
    assert "Neither --output nor --publish" in trained(*command).refusal()


def test_convert_refuses_a_rank_that_no_layer_has(trained: Cli, tiny_base_folder: Path, tmp_path: Path) -> None:
    done = trained("convert", "a/intents", "--rank", "99", "--output", tmp_path / "made", "--base", tiny_base_folder)
    assert done.refusal().startswith("rank is 99, the layer encoder.layer.0.")
    assert not (tmp_path / "made").exists()


def test_folder_without_a_manifest_is_not_converted(trained: Cli, tiny_base_folder: Path, tmp_path: Path) -> None:
    bare = Path(shutil.copytree(write_adapter_folder(tmp_path / "whole"), tmp_path / "bare"))
    (bare / "adapterhub.json").unlink()
    done = trained("convert", bare, "--output", tmp_path / "made", "--base", tiny_base_folder)
    assert "adapterhub.json is missing" in done.refusal()


def test_export_says_the_bytes_and_the_difference(trained: Cli, tiny_base_folder: Path, tmp_path: Path) -> None:
    done = trained("export", "a/intents@1", "--output", tmp_path / "model", "--base", tiny_base_folder)
    assert done.exit_code == 0, done.err
    size = sum(path.stat().st_size for path in (tmp_path / "model").iterdir())
    assert f"Wrote {tmp_path / 'model'}: {size:,} bytes" in done.out
    assert "a/intents@sha256:" in (tmp_path / "model" / "README.md").read_text()


def test_export_to_a_taken_folder_is_refused(trained: Cli, tiny_base_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.txt").write_text("mine")
    done = trained("export", "a/intents@1", "--output", tmp_path / "model", "--base", tiny_base_folder)
    assert "model exists already." in done.refusal()


def test_tree_shows_parents_and_children_with_who_when_data_and_metric(trained: Cli, tiny_base_folder: Path) -> None:
    merged = trained("merge", "a/intents@1", "a/intents@2", "--method", "svd", "--publish", "a/merged", "--base",
                     tiny_base_folder)
    assert merged.exit_code == 0, merged.err
    done = trained("show", "a/merged", "--tree")
    lines = done.out.splitlines()
    assert lines[0].startswith("a/merged@1 ")
    assert "not measured" in lines[0]
    for line, parent in zip(lines[1:], ("a/intents@1", "a/intents@2"), strict=True):
        assert f"merged from (0.5): {parent} " in line
        assert "data intents3" in line
        assert "accuracy" in line
        assert " by " in line
    below = trained("show", "a/intents@1", "--tree")
    assert "Of it was made a/merged@1" in below.out
    found = trained("show", "a/merged", "--tree", "--json").json
    assert [parent["weight"] for parent in found["parents"]] == [0.5, 0.5]
    assert found["children"] == []


def test_tree_says_which_parents_are_not_in_the_registry(published: Cli, tmp_path: Path) -> None:
    folder = write_adapter_folder(tmp_path / "child", seed=9)
    edit_manifest(folder, parents=[f"far/away@sha256:{'7' * 64}"])
    assert published("publish", folder, "support/child").exit_code == 0
    assert f"continued from: far/away@sha256:{'7' * 64}  not in this registry" in published(
        "show", "support/child", "--tree").out


def test_version_of_a_method_that_is_not_served_is_converted_where_it_lies(trained: Cli, tiny_base_folder: Path,
                                                                           tiny_settings: Settings, home: Path,
                                                                           tmp_path: Path) -> None:
    """No adapterhub publishes it, but another's hand may have laid it there."""
    config = LoHaConfig(task_type="SEQ_CLS", r=2, target_modules=["attention.self.query"])
    folder = write_peft_folder(tmp_path / "loha", tiny_base_folder, tiny_settings.cache, config)
    version = home / "registry" / "a" / "intents" / "versions" / "1"
    assert "method LOHA is not served" in trained("publish", folder, "a/loha").refusal()
    for name in FOLDER_FILES:
        (version / name).chmod(0o644)
        shutil.copy(folder / name, version / name)
    record = json.loads((version / "version.json").read_text())
    digest = sha256_of_file(version / "adapterhub.json")
    size = sum((version / name).stat().st_size for name in FOLDER_FILES)
    (version / "version.json").chmod(0o644)
    fields = {name: value for name, value in record.items() if name != "checksum"} | {"digest": digest,
                                                                                      "size_bytes": size}
    (version / "version.json").write_bytes(to_bytes(VersionRecord(**fields)))
    done = trained("convert", "a/intents@1", "--rank", "8", "--output", tmp_path / "made", "--base", tiny_base_folder,
                   "--json").json
    assert done["method"] == "loha"
    assert done["parents"] == [f"a/intents@sha256:{digest}"]


@pytest.mark.parametrize("command", [("convert", "--rank", "2", "--output"), ("export", "--output")])
def test_unsigned_version_is_not_combined_where_signatures_are_asked_for(command: tuple[str, ...], published: Cli,
                                                                         tmp_path: Path) -> None:
    assert published("policy", "--require-signature").exit_code == 0
    name, *options = command
    refusal = published(name, "support/intents", *options, tmp_path / "out").refusal()
    assert "support/intents@2 is not signed" in refusal
    assert not (tmp_path / "out").exists()
