"""A version's tree names every ancestor that is here, says of the others that they are not, and ends."""

from pathlib import Path
from typing import Any

import pytest
from adapter_folders import edit_manifest, write_adapter_folder

from adapterhub.errors import AdapterNotFound
from adapterhub.registry import Registry
from adapterhub.registry.chain import Registries
from adapterhub.registry.index import SearchIndex
from adapterhub.registry.lineage import MOST_GENERATIONS, Lineage, children, lineage

COMBINATION = {"action": "merge", "method": "cat", "weights": [0.7, 0.3], "head_from": None, "relative_error": 0.0,
               "layer_errors": {}, "output_difference": None}


class House:
    """A registry, and adapters published with given parents."""

    def __init__(self, place: Path) -> None:
        self.place, self.count = place, 0
        self.registries = Registries(Registry(place / "registry", by="ann"))

    def publish(self, path: str, parents: tuple[str, ...] = (), **manifest: Any) -> str:
        """Publish an adapter and return its digest."""
        self.count += 1
        folder = write_adapter_folder(self.place / str(self.count), seed=self.count)
        edit_manifest(folder, parents=list(parents), **manifest)
        return self.registries.publish(folder, path).digest

    def children(self, reference: str) -> list[str]:
        made = children(self.registries, self.registries.resolve(reference), self.place / "cache")
        return [version.reference for version in made]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def flat(found: Lineage) -> list[tuple[str, str, str]]:
    return [(found.relation, found.reference, found.note), *(line for parent in found.parents for line in flat(parent))]


def test_tree_goes_back_to_the_first_adapter(house: House) -> None:
    first = house.publish("a/x")
    second = house.publish("a/x", (f"a/x@sha256:{first}",))
    other = house.publish("b/y")
    house.publish("c/z", (f"a/x@sha256:{second}", f"b/y@sha256:{other}"), combination=COMBINATION, format=2)
    found = lineage(house.registries, "c/z")
    assert flat(found) == [("", "c/z@1", ""), ("merged from", "a/x@2", ""), ("continued from", "a/x@1", ""),
                           ("merged from", "b/y@1", "")]
    assert [parent.weight for parent in found.parents] == [0.7, 0.3]
    assert found.version
    assert found.version.published_by == "ann"
    assert found.metric
    assert (found.metric.name, found.metric.split) == ("accuracy", "test")


def test_bare_digest_of_a_folder_is_found_under_any_name(house: House) -> None:
    first = house.publish("a/x")
    house.publish("b/y", (f"sha256:{first}",))
    assert flat(lineage(house.registries, "b/y"))[1] == ("continued from", "a/x@1", "")


@pytest.mark.parametrize("parent", [f"gone/away@sha256:{'7' * 64}", f"sha256:{'7' * 64}", "sha256:no digest",
                                    "../../etc/passwd", ""])
def test_parent_that_is_not_here_is_told_so(parent: str, house: House) -> None:
    house.publish("a/x", (parent,))
    assert flat(lineage(house.registries, "a/x"))[1] == ("continued from", parent, "not in this registry")


def test_ancestor_of_two_is_told_once(house: House) -> None:
    """Twenty merges of a version with itself would else have a million lines."""
    digest = house.publish("a/x")
    for _ in range(20):
        digest = house.publish("a/x", (f"a/x@sha256:{digest}",) * 2, combination=COMBINATION, format=2)
    lines = flat(lineage(house.registries, "a/x"))
    assert len(lines) == 41
    assert lines[-1] == ("merged from", "a/x@20", "as above")


def test_damaged_ancestor_is_told_and_the_rest_still_shown(house: House) -> None:
    first, other = house.publish("a/x"), house.publish("b/y")
    house.publish("c/z", (f"a/x@sha256:{first}", f"b/y@sha256:{other}"))
    manifest = house.place / "registry" / "a" / "x" / "versions" / "1" / "adapterhub.json"
    manifest.chmod(0o644)
    manifest.write_bytes(manifest.read_bytes() + b" ")
    found = flat(lineage(house.registries, "c/z"))
    assert found[1][2].startswith("damaged: the digest of adapterhub.json")
    assert found[2] == ("continued from", "b/y@1", "")


def test_version_that_is_not_there_is_refused(house: House) -> None:
    with pytest.raises(AdapterNotFound):
        lineage(house.registries, "a/x")


def test_children_are_those_of_the_own_name_and_the_latest_of_others(house: House) -> None:
    first = house.publish("a/x")
    for _ in range(2):
        house.publish("a/x", (f"sha256:{first}",))
    house.publish("b/y", (f"a/x@sha256:{first}",))
    house.publish("c/z")
    assert house.children("a/x@1") == ["a/x@2", "a/x@3", "b/y@1"]
    assert house.children("c/z@1") == []


def test_index_of_an_older_schema_is_made_anew(house: House) -> None:
    first = house.publish("a/x")
    house.publish("b/y", (f"a/x@sha256:{first}",))
    file = house.place / "old.sqlite"
    index = SearchIndex(house.registries.own.store, file)
    index.connection.execute("DROP TABLE parent")
    index.connection.execute("PRAGMA user_version = 1")
    index.close()
    index = SearchIndex(house.registries.own.store, file)
    assert index.refresh() == 2
    assert index.connection.execute("SELECT digest FROM parent").fetchall() == [(first,)]
    index.close()


def test_long_history_is_told_up_to_a_hundred_generations(house: House) -> None:
    digest = house.publish("a/x")
    for _ in range(MOST_GENERATIONS + 20):
        digest = house.publish("a/x", (f"a/x@sha256:{digest}",))
    lines = flat(lineage(house.registries, "a/x"))
    assert len(lines) == MOST_GENERATIONS + 2
    assert lines[-1] == ("continued from", "a/x@20", "older ones: ask for its own tree")


def test_damaged_sibling_hides_no_child(house: House) -> None:
    first = house.publish("a/x")
    house.publish("a/x", (f"a/x@sha256:{first}",))
    house.publish("a/x", (f"a/x@sha256:{first}",))
    manifest = house.place / "registry/a/x/versions/2/adapterhub.json"
    manifest.chmod(0o644)
    manifest.write_bytes(b"{}")
    assert house.children("a/x@1") == ["a/x@3"]
