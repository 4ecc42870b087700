"""A registry that a newer adapterhub wrote is told as such, and never half understood."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from adapter_folders import edit_manifest, write_adapter_folder

from adapterhub.adapter.manifest import FORMAT
from adapterhub.errors import AdapterHubError, InvalidFolder
from adapterhub.files import canonical_json, sha256_of_bytes
from adapterhub.registry import Limits, Registry
from adapterhub.registry.copying import copy_adapter
from adapterhub.registry.policy import change_policy
from adapterhub.registry.records import PolicyRecord


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "registry")
    registry.publish(write_adapter_folder(tmp_path / "a"), "a/b")
    registry.promote("a/b@1", "production")
    (tmp_path / "eval.jsonl").write_text("{}\n")
    registry.set_gate("a/b", "staging", Limits(metric="accuracy", minimum=0.5), tmp_path / "eval.jsonl")
    change_policy(registry.store, PolicyRecord(quotas={"a": 10**9}), at="now", by="anna")
    return registry


def made_newer(file: Path) -> None:
    """Write a record as a newer adapterhub would: a field more, and its checksum right."""
    value = json.loads(file.read_text()) | {"of_tomorrow": 1}
    del value["checksum"]
    file.write_bytes(canonical_json({**value, "checksum": sha256_of_bytes(canonical_json(value))}))


ACTS: dict[str, list[Callable[[Registry, Path], object]]] = {
    "a/b/versions/1/version.json": [lambda registry, _: registry.resolve("a/b"),
                                    lambda registry, _: registry.read("a/b"),
                                    lambda registry, place: registry.pull("a/b", place / "pulled")],
    "a/b/versions/1/claim.json": [lambda registry, _: registry.verify("a/b")],
    "a/b/aliases/production/1.json": [lambda registry, _: registry.read("a/b@production"),
                                      lambda registry, _: registry.history("a/b@production"),
                                      lambda registry, _: registry.promote("a/b@1", "production")],
    "a/b/gates/staging/1.json": [lambda registry, _: registry.promote("a/b@1", "staging")],
    ".policy/1.json": [lambda registry, place: registry.publish(write_adapter_folder(place / "c", seed=5), "a/b"),
                       lambda registry, _: registry.read("a/b")],
}


@pytest.mark.parametrize("key", ACTS)
def test_newer_record_is_refused_with_the_way_out(key: str, registry: Registry, tmp_path: Path) -> None:
    made_newer(tmp_path / "registry" / key)
    before = {path for path in (tmp_path / "registry").rglob("*") if ".staged" not in path.parts}
    for act in ACTS[key]:
        with pytest.raises(InvalidFolder, match=r"it is of another format \(of_tomorrow: .*Update adapterhub"):
            act(registry, tmp_path)
    assert {path for path in (tmp_path / "registry").rglob("*") if ".staged" not in path.parts} == before
    assert not (tmp_path / "pulled").exists()


def test_newer_manifest_is_refused_with_the_way_out(tmp_path: Path) -> None:
    folder = write_adapter_folder(tmp_path / "a")
    edit_manifest(folder, format=FORMAT + 1)
    with pytest.raises(InvalidFolder, match=rf"has format {FORMAT + 1}, this adapterhub reads {FORMAT}\. Update"):
        Registry(tmp_path / "registry").publish(folder, "a/b")


def test_newer_adapter_is_left_out_of_lists_and_hides_no_other(registry: Registry, tmp_path: Path,
                                                               caplog: pytest.LogCaptureFixture) -> None:
    registry.publish(write_adapter_folder(tmp_path / "c", seed=5), "a/c")
    made_newer(tmp_path / "registry/a/b/versions/1/version.json")
    assert [listing.path for listing in registry.list()] == ["a/c"]
    assert "Update adapterhub" in caplog.text


def test_newer_adapter_is_not_copied(registry: Registry, tmp_path: Path) -> None:
    made_newer(tmp_path / "registry/a/b/versions/1/version.json")
    with pytest.raises(AdapterHubError, match="Update adapterhub"):
        list(copy_adapter(registry.store, Registry(tmp_path / "target").store, "a/b"))
    assert not (tmp_path / "target").exists()
