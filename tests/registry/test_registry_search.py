"""Adapters are listed and found by what their manifests and cards say; several registries read as one."""

import logging
from pathlib import Path

import pytest
from adapter_folders import write_adapter_folder

from adapterhub.errors import AdapterNotFound, StorageError
from adapterhub.registry import Query, Registries, Registry, open_registries
from adapterhub.settings import Settings

QUESTIONS_FINGERPRINT = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A registry that tests of this file only read."""
    place = tmp_path_factory.mktemp("search")
    registry = Registry(place / "registry")
    registry.publish(write_adapter_folder(place / "1", labels=("Card", "loan")), "support/intents")
    registry.publish(write_adapter_folder(place / "2", labels=("Card", "loan"), seed=1), "support/intents")
    registry.publish(write_adapter_folder(place / "3", labels=("B-name", "O"), task="token-classification"),
                     "support/entities")
    registry.publish(write_adapter_folder(place / "4", labels=(), task="sentence-similarity", card="Answers on Fever.",
                                          fingerprint=QUESTIONS_FINGERPRINT), "medical/questions")
    registry.promote("support/intents@1", "production")
    return registry


def test_list_shows_each_adapter_by_its_latest_version(shared: Registry) -> None:
    assert [(item.path, item.version.version) for item in shared.list()] == [
        ("medical/questions", 1), ("support/entities", 1), ("support/intents", 2)]


def test_listing_holds_facts_of_the_manifest_and_aliases(shared: Registry) -> None:
    intents = shared.list()[-1]
    assert intents.aliases == {"production": 1}
    assert intents.manifest.labels == ["Card", "loan"]
    assert intents.main_metric is not None
    assert (intents.main_metric.split, intents.main_metric.value) == ("test", 0.75)


@pytest.mark.parametrize(("query", "expected"), [
    (Query(), ["medical/questions", "support/entities", "support/intents"]),
    (Query(text="SUPPORT"), ["support/entities", "support/intents"]),
    (Query(text="card"), ["support/intents"]),
    (Query(text="fever"), ["medical/questions"]),
    (Query(text="medical fever"), ["medical/questions"]),
    (Query(text="support fever"), []),
    (Query(text="token-class"), ["support/entities"]),
    (Query(task="sentence-similarity"), ["medical/questions"]),
    (Query(base=QUESTIONS_FINGERPRINT[:8]), ["medical/questions"]),
    (Query(base="012"), []),
    (Query(base="Embedded"), ["medical/questions", "support/entities", "support/intents"]),
    (Query(label="CARD"), ["support/intents"]),
    (Query(label="car"), []),
    (Query(text="support", label="o"), ["support/entities"]),
])
def test_search_finds_what_fits_every_part(query: Query, expected: list[str], shared: Registry) -> None:
    assert [item.path for item in shared.search(query)] == expected


def test_damaged_adapter_is_logged_and_hides_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    registry = Registry(tmp_path / "registry")
    for name in ("bad", "good"):
        registry.publish(write_adapter_folder(tmp_path / name), f"a/{name}")
    (tmp_path / "registry/a/bad/versions/1/adapterhub.json").write_text("{}")
    with caplog.at_level(logging.WARNING):
        assert [item.path for item in registry.list()] == ["a/good"]
    assert "a/bad" in caplog.text


@pytest.fixture
def both(tmp_path: Path) -> Registries:
    own, shipped = Registry(tmp_path / "own"), Registry(tmp_path / "shipped")
    folders = [write_adapter_folder(tmp_path / str(seed), seed=seed) for seed in range(3)]
    own.publish(folders[0], "a/both")
    shipped.publish(folders[1], "a/both")
    shipped.publish(folders[2], "a/both")
    shipped.publish(folders[2], "a/shipped")
    return Registries(own, shipped)


def test_adapter_is_found_in_the_registry_that_has_it(both: Registries, tmp_path: Path) -> None:
    version = both.resolve("a/shipped")
    assert version.place == str(tmp_path / "shipped")
    assert both.read(version).digest == both.read("a/shipped").digest == version.digest
    assert both.local_path(version) == tmp_path / "shipped/a/shipped/versions/1"


def test_first_registry_answers_alone_for_a_name_it_has(both: Registries) -> None:
    assert both.resolve("a/both").version == 1
    with pytest.raises(AdapterNotFound):
        both.resolve("a/both@2")


def test_digest_is_found_in_any_registry(both: Registries, tmp_path: Path) -> None:
    hidden = Registry(tmp_path / "shipped").resolve("a/both@2")
    assert both.resolve(hidden.pinned) == hidden


def test_list_and_search_show_each_name_once(both: Registries, tmp_path: Path) -> None:
    assert [(item.path, item.version.place) for item in both.list()] == [
        ("a/both", str(tmp_path / "own")), ("a/shipped", str(tmp_path / "shipped"))]
    assert [item.path for item in both.search(Query(text="shipped"))] == ["a/shipped"]


def test_hidden_adapter_is_not_found_by_search(both: Registries, tmp_path: Path) -> None:
    folder = write_adapter_folder(tmp_path / "new", seed=9, card="unicorn")
    Registry(tmp_path / "shipped").publish(folder, "a/both")
    assert both.search(Query(text="unicorn")) == []


def test_near_misses_come_from_all_registries(both: Registries) -> None:
    with pytest.raises(AdapterNotFound, match=r"own and .*shipped\. Did you mean a/shipped\?"):
        both.resolve("a/shiped")


def test_writes_go_to_the_first_registry(both: Registries, tmp_path: Path) -> None:
    version = both.publish(tmp_path / "1", "a/new")
    both.promote("a/new", "production")
    assert version.place == str(tmp_path / "own")
    assert both.resolve("a/new@production").version == version.version


@pytest.mark.parametrize("act", [lambda r: r.promote("a/shipped", "production"), lambda r: r.yank("a/shipped", "x"),
                                 lambda r: r.rollback("a/shipped@production")])
def test_adapter_of_a_later_registry_is_only_read_from(act, both: Registries) -> None:
    with pytest.raises(StorageError, match="which is only read from"):
        act(both)


def test_settings_open_the_own_and_the_shipped_registry(tmp_path: Path) -> None:
    settings = Settings(registry=str(tmp_path / "own"), cache=tmp_path, data=None, shipped_registry=tmp_path / "x")
    assert open_registries(settings).where == f"{tmp_path / 'own'} and {tmp_path / 'x'}"


def test_shipped_registry_as_own_is_not_read_twice(tmp_path: Path) -> None:
    settings = Settings(registry=str(tmp_path), cache=tmp_path, data=None, shipped_registry=tmp_path)
    assert open_registries(settings).where == str(tmp_path)
