"""What goes wrong with a registry on the Hugging Face Hub: one sentence each, and nothing half visible."""

from collections.abc import Callable
from pathlib import Path

import pytest
from adapter_folders import write_adapter_folder
from hub_repos import HubRepo
from hub_server import HubServer
from huggingface_hub import constants

from adapterhub.adapter.folder import CARD_FILE
from adapterhub.errors import AdapterHubError, AdapterNotFound, InvalidFolder, StorageError
from adapterhub.registry import Registry

PLACE = "hf://acme"
REPO = "acme/support__intents"
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the client's own upload


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_adapter_folder(tmp_path / "folder")


def refusal(ask: Callable[[], object], kind: type[AdapterHubError] = StorageError) -> str:
    """The one sentence (and hint) of what is refused; no token is in it."""
    with pytest.raises(kind) as caught:
        ask()
    told = str(caught.value)
    assert "\n" not in told
    assert "hf_" not in told
    return told


def test_publishing_without_a_token_says_how_to_get_one(hub: HubServer, folder: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    told = refusal(lambda: Registry(PLACE).publish(folder, "support/intents"))
    assert told == ("hf://acme asks for a token, and none was found. Run `hf auth login`, or set HF_TOKEN to a token "
                    "that may write to acme.")
    assert hub.repos == {}


def test_public_adapters_are_read_without_a_token(hub: HubServer, folder: Path, tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    Registry(PLACE).publish(folder, "support/intents")
    monkeypatch.delenv("HF_TOKEN")
    assert Registry(PLACE).pull("support/intents", tmp_path / "pulled").files
    assert len(Registry(PLACE).list()) == 1
    assert "asks for a token" in refusal(lambda: Registry(PLACE).promote("support/intents@1", "production"))
    hub.repos[REPO].is_private = True
    assert "No adapter" in refusal(lambda: Registry(PLACE).resolve("support/intents"), AdapterNotFound)


def test_token_is_found_where_the_client_keeps_it(hub: HubServer, folder: Path, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("hf_a_token_of_the_tests\n")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    assert Registry(PLACE).publish(folder, "support/intents").is_new


def test_wrong_token_is_told(hub: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_somebody_elses")
    registry = Registry(PLACE)
    for ask in (lambda: registry.publish(folder, "support/intents"), registry.list,
                lambda: registry.resolve("support/intents")):
        assert refusal(ask).startswith("hf://acme refused the token that was found (Invalid credentials")


def test_organisation_that_is_not_there_is_told(hub: HubServer, folder: Path) -> None:
    registry = Registry("hf://acmee")
    told = refusal(lambda: registry.publish(folder, "support/intents"))
    assert "hf://acmee may not be used with this token, or there is no such organisation (You don't have" in told
    for ask in (registry.list, lambda: registry.resolve("support/intents")):
        assert refusal(ask).startswith("There is no organisation or user 'acmee' on the Hub. Correct the address")


def test_organisation_without_repos_is_an_empty_registry(hub: HubServer) -> None:
    assert Registry(PLACE).list() == []
    assert "No adapter 'a/b' in hf://acme" in refusal(lambda: Registry(PLACE).resolve("a/b"), AdapterNotFound)


def test_user_may_have_a_registry_too(hub: HubServer, folder: Path) -> None:
    hub.users.add("ann")
    registry = Registry("hf://ann/")
    assert registry.list() == []
    assert registry.publish(folder, "support/intents").place == "hf://ann"
    assert list(hub.repos) == ["ann/support__intents"]


@pytest.mark.parametrize("address", ["hf://", "hf://acme/intents", "hf://a b", "hf://-acme"])
def test_address_that_names_no_organisation_is_refused(address: str) -> None:
    assert "Write hf://organisation" in refusal(lambda: Registry(address))


def test_offline_mode_is_told(hub: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Registry(PLACE).publish(folder, "support/intents")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    registry, n_requests = Registry(PLACE), len(hub.requests)
    for ask in (lambda: registry.publish(folder, "support/intents"), lambda: registry.resolve("support/intents")):
        assert refusal(ask) == ("hf://acme is not asked, because HF_HUB_OFFLINE is set. Unset it, or use another "
                                "registry: a folder needs no network.")
    assert len(hub.requests) == n_requests


def test_server_that_is_not_there_is_told(hub: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "hf://acme cannot be reached: the connection failed" in refusal(
        lambda: Registry(PLACE).publish(folder, "support/intents"))


@pytest.mark.parametrize("path", ["/commit/main", "/commit/adapterhub", "/tag/", "/api/repos/create"])
def test_connection_that_breaks_off_leaves_nothing_visible(hub: HubServer, folder: Path, path: str) -> None:
    hub.breaks_at = path
    told = refusal(lambda: Registry(PLACE).publish(folder, "support/intents"))
    assert "cannot be reached" in told
    assert "run the same command again" in told
    hub.breaks_at = ""
    assert Registry(PLACE).versions("support/intents") == []
    assert Registry(PLACE).publish(folder, "support/intents").is_new


def test_connection_that_breaks_off_while_reading_is_told(hub: HubServer, folder: Path) -> None:
    Registry(PLACE).publish(folder, "support/intents")
    hub.requests_left = 2
    assert "answered with status 501 (The server is going down)" in refusal(
        lambda: Registry(PLACE).pull("support/intents", folder.parent / "pulled"))
    assert not (folder.parent / "pulled").exists()


def test_hub_that_was_asked_too_often_is_told(hub: HubServer) -> None:
    hub.requests_left, hub.refusal = 0, 429
    assert "hf://acme was asked too often (The server is going down). Wait" in refusal(
        lambda: Registry(PLACE).resolve("support/intents"))


def test_cache_that_cannot_be_written_is_told(hub: HubServer, folder: Path, tmp_path: Path,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    Registry(PLACE).publish(folder, "support/intents")
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "cache"))
    assert refusal(lambda: Registry(PLACE).read("support/intents")).startswith("The cache of hf://acme cannot be used")


def test_repo_of_something_else_is_neither_read_nor_touched(hub: HubServer, folder: Path) -> None:
    repo = hub.repos[REPO] = HubRepo()
    repo.commit("main", "my own model", {"config.json": (b"{}", False)})
    before = (dict(repo.branches), dict(repo.tags))
    told = refusal(lambda: Registry(PLACE).publish(folder, "support/intents"))
    assert told == (f"The repo {REPO} holds something that adapterhub did not put there. Publish under another name, "
                    "or move that repo away on the Hub first.")
    assert (repo.branches, repo.tags) == before
    assert Registry(PLACE).list() == []


def test_empty_repo_is_taken_and_stays_as_private_as_it_is(hub: HubServer, folder: Path) -> None:
    repo = hub.repos[REPO] = HubRepo(is_private=True)
    assert Registry(PLACE).publish(folder, "support/intents").is_new
    assert repo.is_private
    assert sorted(repo.tags) == ["v1"]


def test_commit_by_hand_changes_no_version_and_the_next_one_goes_on_top(hub: HubServer, folder: Path,
                                                                      tmp_path: Path) -> None:
    Registry(PLACE).publish(folder, "support/intents")
    repo = hub.repos[REPO]
    by_hand = repo.commit("main", "fix a typo", {CARD_FILE: (b"# by hand", False), "LICENSE": (b"mine", False)})
    assert Registry(PLACE).read("support/intents").files[CARD_FILE] == (folder / CARD_FILE).read_bytes()
    second = write_adapter_folder(tmp_path / "second", seed=2)
    assert Registry(PLACE).publish(second, "support/intents").version == 2
    assert Registry(PLACE).read("support/intents").files[CARD_FILE] == (second / CARD_FILE).read_bytes()
    head = repo.history("main")[0]
    assert (head.parent, head.tree["LICENSE"].data) == (by_hand, b"mine")


@pytest.mark.parametrize("file", ["adapter_model.safetensors", "adapter_config.json", "README.md", "adapterhub.json"])
def test_file_changed_by_a_force_push_is_found(hub: HubServer, folder: Path, tmp_path: Path, file: str) -> None:
    Registry(PLACE).publish(folder, "support/intents")
    data = (folder / file).read_bytes()
    hub.repos[REPO].force_tag("v1", file, data[:-2] + bytes([data[-2] ^ 1]) + data[-1:])
    registry = Registry(PLACE)
    for ask in (lambda: registry.pull("support/intents", tmp_path / "pulled"),
                lambda: registry.verify("support/intents"), lambda: registry.read("support/intents@1")):
        assert "changed after it was" in refusal(ask, InvalidFolder)
    assert not (tmp_path / "pulled").exists()


def test_file_that_changed_in_the_clients_cache_is_fetched_anew(hub: HubServer, folder: Path) -> None:
    Registry(PLACE).publish(folder, "support/intents")
    Registry(PLACE).read("support/intents")
    cached = [path.resolve() for path in Path(constants.HF_HUB_CACHE).rglob("adapter_model.safetensors")]
    assert len(cached) == 1
    data = cached[0].read_bytes()
    cached[0].write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert Registry(PLACE).verify("support/intents").checks
    assert cached[0].read_bytes() == data


def test_tag_that_was_taken_away_is_told(hub: HubServer, folder: Path) -> None:
    Registry(PLACE).publish(folder, "support/intents")
    del hub.repos[REPO].tags["v1"]
    assert "adapter_config.json is missing" in refusal(lambda: Registry(PLACE).read("support/intents"), InvalidFolder)


def test_tag_of_somebody_elses_takes_a_number_away(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    Registry(PLACE).publish(folder, "support/intents")
    repo = hub.repos[REPO]
    repo.tags["v2"] = repo.history("main")[-1].oid
    assert Registry(PLACE).publish(write_adapter_folder(tmp_path / "b", seed=2), "support/intents").version == 3


def test_card_that_the_hub_refuses_is_told(hub: HubServer, tmp_path: Path) -> None:
    folder = write_adapter_folder(tmp_path / "a", card="---\nlicense: card_of_no_use\n---\n")
    told = refusal(lambda: Registry(PLACE).publish(folder, "support/intents"))
    assert 'Invalid metadata in README.md. - "license" is unknown. Check the adapter\'s card' in told
    assert Registry(PLACE).versions("support/intents") == []


def test_single_file_of_a_version_is_refused(hub: HubServer, folder: Path) -> None:
    told = refusal(lambda: Registry(PLACE).store.create("a/b/versions/1/README.md", b"x"))
    assert told.startswith("hf://acme takes the files of a version only together")
    assert hub.repos == {}
