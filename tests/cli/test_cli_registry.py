"""publish, list, search, show, pull, verify, promote, rollback, history: for people and for programs."""

from pathlib import Path

from adapter_folders import FINGERPRINT, names_in, write_adapter_folder
from command_line import Cli

from adapterhub.adapter.folder import FOLDER_FILES, read_folder


def test_publish_says_the_version_and_its_digest(cli: Cli, tmp_path: Path) -> None:
    folder = write_adapter_folder(tmp_path / "a")
    ran = cli("publish", folder, "support/intents", "--alias", "production")
    assert f"Published support/intents@1 (sha256:{read_folder(folder).digest[:12]}" in ran.out
    assert "support/intents@production -> support/intents@1" in ran.out


def test_publish_gives_programs_the_same(cli: Cli, tmp_path: Path, home: Path) -> None:
    folder = write_adapter_folder(tmp_path / "a")
    assert cli("publish", folder, "support/intents", "--json").json == {
        "reference": "support/intents@1", "digest": read_folder(folder).digest, "is_new": True, "alias": None,
        "registry": str(home / "registry")}


def test_same_content_again_makes_no_version(published: Cli, tmp_path: Path) -> None:
    ran = published("publish", tmp_path / "second", "support/intents", "--json")
    assert (ran.json["reference"], ran.json["is_new"]) == ("support/intents@2", False)
    assert "Nothing new" in published("publish", tmp_path / "second", "support/intents").out


def test_registry_option_wins_over_the_environment(published: Cli, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert published("publish", tmp_path / "first", "a/b", "--registry", other).exit_code == 0
    assert [line["reference"] for line in published("list", "--registry", other, "--json").json] == ["a/b@1"]
    assert len(published("list", "--json").json) == 2


def test_list_shows_each_adapter_by_its_latest_version(published: Cli) -> None:
    published("promote", "support/intents@1", "production")
    lines = published("list", "--json").json
    assert [line["reference"] for line in lines] == ["news/topics@1", "support/intents@2"]
    assert lines[1]["aliases"] == {"production": 1}
    assert lines[1]["labels"] == ["card", "loan", "other"]
    assert lines[1]["metric"] == {"name": "accuracy", "split": "test", "value": 0.75}
    assert lines[1]["base_fingerprint"] == FINGERPRINT
    shown = published("list").out
    assert "2 adapters in" in shown
    assert "accuracy 0.750" in shown
    assert "production=1" in shown


def test_list_of_an_empty_place_is_empty_and_makes_nothing(cli: Cli, home: Path) -> None:
    assert cli("list", "--json").json == []
    assert "0 adapters in" in cli("list").out
    assert not home.exists()


def test_search_narrows_by_words_task_label_and_base(published: Cli) -> None:
    def found(*arguments: str) -> list[str]:
        return [line["reference"] for line in published("search", *arguments, "--json").json]
    assert found("topics") == ["news/topics@1"]
    assert found("--label", "sport") == ["news/topics@1"]
    assert found("--base", FINGERPRINT[:8]) == ["news/topics@1", "support/intents@2"]
    assert found("topics", "--task", "token-classification") == []


def test_show_gives_the_card_and_the_manifest(published: Cli) -> None:
    assert "A test adapter, seed 2" in published("show", "support/intents").out
    shown = published("show", "support/intents@1", "--json").json
    assert shown["reference"] == "support/intents@1"
    assert shown["manifest"]["training"]["seed"] == 1


def test_pull_copies_the_published_bytes(published: Cli, tmp_path: Path) -> None:
    published("promote", "support/intents@1", "production")
    ran = published("pull", "support/intents@production", tmp_path / "pulled", "--json")
    assert ran.json["reference"] == "support/intents@1"
    assert names_in(tmp_path / "pulled") == sorted(FOLDER_FILES)
    assert all((tmp_path / "pulled" / name).read_bytes() == (tmp_path / "first" / name).read_bytes()
               for name in FOLDER_FILES)
    assert "every digest agrees" in published("pull", "news/topics", tmp_path / "topics").out


def test_verify_says_what_it_checked_and_what_it_could_not(published: Cli) -> None:
    ran = published("verify", "support/intents")
    assert "support/intents@2 is whole" in ran.out
    assert "Not checked: " in ran.out
    told = published("verify", "support/intents", "--json").json
    assert any("digest" in check for check in told["checks"])
    assert any("probe" in check for check in told["not_checked"])


def test_promote_rollback_and_history_tell_every_move(published: Cli) -> None:
    assert "support/intents@production -> version 1" in published("promote", "support/intents@1", "production").out
    assert published("promote", "support/intents@2", "production", "--json").json[0]["version"] == 2
    assert published("rollback", "support/intents@production", "--json").json[0]["version"] == 1
    moves = published("history", "support/intents@production", "--json").json
    assert [(move["action"], move["version"]) for move in moves] == [("promote", 1), ("promote", 2), ("rollback", 1)]
    assert published("history", "support/intents@production").out.count("\n") == 3
