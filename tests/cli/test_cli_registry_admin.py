"""Gates, housekeeping and whole-registry checks from the command line."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from adapter_folders import write_adapter_folder
from command_line import Cli
from tiny import write_tiny_base

from adapterhub.cli.main import main


def test_every_command_of_a_group_gives_an_example() -> None:
    for name, command in main.commands["gate"].commands.items():  # type: ignore[attr-defined]  # a group has commands
        assert f"Example: adapterhub gate {name}" in command.epilog
        assert {"as_json", "place"} <= {parameter.name for parameter in command.params}


def test_verify_all_names_each_version_and_fails_on_one_that_changed(published: Cli, home: Path) -> None:
    assert [line["is_whole"] for line in published("verify", "--all", "--json").lines] == [True] * 3
    assert "Not checked: the probe; the tensors fit" in published("verify", "--all").out
    path = home / "registry/support/intents/versions/1/adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    ran = published("verify", "--all", "--json")
    assert ran.exit_code == 2
    told = {line["reference"]: line for line in map(json.loads, ran.out.splitlines())}
    assert [reference for reference, line in told.items() if not line["is_whole"]] == ["support/intents@1"]
    assert "the digest of adapter_model.safetensors" in told["support/intents@1"]["fault"]
    assert "1 version of" in ran.err


@pytest.mark.parametrize("which", ["support/intents", "--all"])
def test_base_that_cannot_be_reached_leaves_structure_checked_and_says_that_no_probe_was_run(
        which: str, published: Cli, tmp_path: Path) -> None:
    ran = published("verify", which, "--base", tmp_path / "nowhere")
    assert ran.exit_code == 2
    assert "is whole" in ran.out
    assert "Not checked: " in ran.out
    assert "the probe" in ran.out
    assert re.match(r"Error: (The|No) probe was( not)? run: No such base folder: .*nowhere\. Give a folder", ran.err)
    assert ran.err.count("\n") == 1
    offline = published("verify", "support/intents", "--base", "nobody/nothing", "--json")
    assert json.loads(offline.out)["not_checked"] == ["the tensors fit the base's modules", "the probe"]
    assert "HF_HUB_OFFLINE is set" in offline.err


def test_verify_wants_one_reference_or_all(published: Cli) -> None:
    assert published("verify").exit_code == 2
    assert published("verify", "--all", "news/topics").exit_code == 2


def test_yanked_version_is_not_the_latest_any_more(published: Cli) -> None:
    assert published("yank", "support/intents@2", "--reason", "swapped labels", "--json").json["is_yanked"]
    assert published("show", "support/intents", "--json").json["reference"] == "support/intents@1"
    assert "is yanked" in published("promote", "support/intents@2", "production").refusal()


def test_at_tells_what_an_alias_meant(published: Cli) -> None:
    published("promote", "support/intents@1", "production")
    assert published("at", "support/intents@production", "2999-01-01", "--json").json["version"] == 1
    assert "it first moved at" in published("at", "support/intents@production", "2001-01-01T10:00").refusal()


def test_expected_move_that_is_not_the_last_refuses(published: Cli) -> None:
    assert published("promote", "support/intents@1", "production", "--expected", 0).exit_code == 0
    assert "moved meanwhile" in published("promote", "support/intents@2", "production", "--expected", 0).refusal()
    moves = published("history", "support/intents@production", "--json").json
    assert [(move["version"], move["is_forced"]) for move in moves] == [(1, False)]


def test_copy_backup_and_restore_give_the_same_adapters(published: Cli, tmp_path: Path) -> None:
    published("promote", "support/intents@1", "production")
    copied = published("copy", "--to", tmp_path / "copy", "--json").lines
    assert [(line["name"], line["were_there"]) for line in copied] == [("news/topics", 0), ("support/intents", 0)]
    published("backup", tmp_path / "backup.tar")
    published("restore", tmp_path / "backup.tar", "--registry", tmp_path / "restored")
    mine, copy, restored = (published("list", "--json", "--registry", place).json
                            for place in (tmp_path / "home/registry", tmp_path / "copy", tmp_path / "restored"))
    assert [[line["digest"] for line in lines] for lines in (copy, restored)] == [[line["digest"] for line in mine]] * 2
    assert published("show", "support/intents@production", "--json", "--registry",
                     tmp_path / "copy").json["reference"] == "support/intents@1"


def test_sweep_lists_first_and_deletes_only_when_told(published: Cli, home: Path) -> None:
    claim = home / "registry/support/intents/versions/3/claim.json"
    claim.parent.mkdir()
    claim.write_text("{}")
    assert published("sweep", "--json").json["remains"] == []
    assert [part["what"] for part in published("sweep", "--older-than", 0, "--json").json["remains"]] == [
        "support/intents@3"]
    assert claim.exists()
    published("sweep", "--older-than", 0, "--delete")
    assert not claim.exists()


def test_quota_is_set_shown_and_kept(published: Cli, tmp_path: Path) -> None:
    assert published("policy", "--quota", "support=10", "--json").json["quotas"] == {"support": 10}
    refusal = published("publish", write_adapter_folder(tmp_path / "more", seed=8), "support/intents").refusal()
    assert "its quota is 10" in refusal
    assert published("policy", "--quota", "support=", "--json").json["quotas"] == {}
    assert published("policy", "--quota", "support").exit_code == 2


def test_gate_measures_with_the_runtime_and_refuses_with_figures(cli: Cli, tiny_adapters: dict[str, Path],
                                                                 tiny_base_folder: Path,
                                                                 tiny_rows: dict[str, Path]) -> None:
    for name in ("intents3", "query-only"):
        cli("publish", tiny_adapters[name], "a/b")
    rows = tiny_rows["intents3"]
    set_gate: Callable[..., object] = lambda minimum: cli(  # noqa: E731  # one call with one changing value
        "gate", "set", "a/b", "--alias", "production", "--metric", "accuracy", "--min", minimum, "--data", rows,
        "--json").json
    set_gate(0.01)
    move = cli("promote", "a/b@1", "production", "--base", tiny_base_folder, "--json").json[0]
    measured = cli("evaluate", "a/b@1", "--data", rows, "--base", tiny_base_folder, "--json").json["metrics"]
    assert move["figures"]["candidate"] == pytest.approx(measured["accuracy"], abs=1e-6)
    set_gate(1.01)
    refusal = cli("promote", "a/b@2", "production", "--base", tiny_base_folder).refusal()
    assert "the gate asks at least 1.01" in refusal
    assert cli("promote", "a/b@2", "production", "--force", "--json").json[0]["is_forced"]
    cli("gate", "remove", "a/b", "--alias", "production")
    assert cli("gate", "show", "a/b", "--json").json == []


def test_search_filters_sorts_and_pages(published: Cli) -> None:
    def found(*arguments: object) -> list[str]:
        return [line["reference"] for line in published("search", *arguments, "--json").json]

    assert found() == ["news/topics@1", "support/intents@2"]
    assert found("intent", "--max-rank", 2, "--metric", "accuracy=0.7") == ["support/intents@2"]
    assert found("--metric", "accuracy=0.9") == found("--idle-days", 1) == found("--alias", "production") == []
    assert found("--label", "sport", "--label", "rest") == ["news/topics@1"]
    assert found("--not-revision", "embedded=abc") == ["news/topics@1", "support/intents@2"]
    assert found("--limit", 1, "--page", 2) == ["support/intents@2"]
    assert "2 in all; this is page 2" in published("search", "--limit", 1, "--page", 2).out
    assert published("search", "--metric", "accuracy").exit_code == 2
    assert "Unknown order 'nme'" in published("search", "--sort", "nme").refusal()


def test_breaks_tells_what_a_moved_base_means(cli: Cli, tiny_adapters: dict[str, Path], tiny_base_folder: Path,
                                              tmp_path: Path) -> None:
    for name in ("intents3", "pairs"):
        assert cli("publish", tiny_adapters[name], f"a/{name}").exit_code == 0
    cli("publish", write_adapter_folder(tmp_path / "other"), "a/of-another-base")

    def outlook(new_base: object) -> list[tuple[bool, str]]:
        lines = cli("breaks", tiny_base_folder.name, "--new-base", new_base, "--json").json
        return [(line["breaks"], line["why"]) for line in lines]

    assert outlook(tiny_base_folder) == [(False, "goes on: the base is the same")] * 2
    moved = write_tiny_base(tmp_path / "moved", seed=1)
    assert [(breaks, "fits their shapes" in why) for breaks, why in outlook(moved)] == [(True, True)] * 2
    assert all(breaks and "does not fit: " in why for breaks, why in outlook("embedded"))
    assert "2 of 2 adapters of tiny-base would break" in cli("breaks", "tiny-base", "--new-base", moved).out
    assert "nowhere" in cli("breaks", "tiny-base", "--new-base", tmp_path / "nowhere").refusal()


def test_fits_lists_what_a_server_has_room_for(published: Cli) -> None:
    def fitting(slots: int, rank: int, size: int) -> int:
        return len(published("fits", "--slots", slots, "--max-rank", rank, "--bytes", size, "--json").json)

    assert [fitting(9, 8, 10**9), fitting(1, 8, 10**9), fitting(9, 1, 10**9), fitting(9, 8, 10)] == [2, 1, 0, 0]
