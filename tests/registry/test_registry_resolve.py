"""Every form of reference finds its version, and a wrong one finds its neighbours."""

from pathlib import Path

import pytest
from adapter_folders import write_adapter_folder

from adapterhub.errors import AdapterNotFound, InvalidFolder, InvalidReference
from adapterhub.registry import Registry, Version


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A registry that tests of this file only read: three versions, two aliases, a second adapter."""
    place = tmp_path_factory.mktemp("resolve")
    registry = Registry(place / "registry")
    for seed in range(3):
        registry.publish(write_adapter_folder(place / str(seed), seed=seed), "support/intents")
    registry.publish(place / "0", "medical/questions")
    registry.promote("support/intents@2", "production")
    registry.promote("support/intents@3", "staging")
    return registry


def version_of(registry: Registry, number: int) -> Version:
    return registry.versions("support/intents")[number - 1]


@pytest.mark.parametrize(("selector", "expected"), [("", 3), ("@latest", 3), ("@1", 1), ("@production", 2),
                                                    ("@staging", 3)])
def test_selector_finds_its_version(selector: str, expected: int, shared: Registry) -> None:
    assert shared.resolve(f"support/intents{selector}") == version_of(shared, expected)


@pytest.mark.parametrize("n_digits", [8, 20, 64])
def test_digest_finds_its_version_by_its_first_digits(n_digits: int, shared: Registry) -> None:
    version = version_of(shared, 1)
    assert shared.resolve(f"support/intents@sha256:{version.digest[:n_digits]}") == version


def test_adapter_of_a_similar_name_is_offered(shared: Registry) -> None:
    with pytest.raises(AdapterNotFound, match=r"Did you mean support/intents\?"):
        shared.resolve("support/intent")


def test_adapter_of_the_same_name_elsewhere_is_offered(shared: Registry) -> None:
    with pytest.raises(AdapterNotFound, match=r"Did you mean medical/questions\?"):
        shared.resolve("x/questions")


def test_alias_of_a_similar_name_is_offered(shared: Registry) -> None:
    with pytest.raises(AdapterNotFound, match=r"aliases are production, staging\. Did you mean \S+@production\?"):
        shared.resolve("support/intents@prodution")


def test_unknown_version_is_told_the_highest(shared: Registry) -> None:
    with pytest.raises(AdapterNotFound, match=r"highest version is 3\. Did you mean .*support/intents@3\?"):
        shared.resolve("support/intents@4")


def test_unknown_digest_is_not_found(shared: Registry) -> None:
    with pytest.raises(AdapterNotFound):
        shared.resolve("support/intents@sha256:00000000")


def test_ambiguous_digest_is_refused(shared: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    from adapterhub.registry import resolve
    record = resolve.VersionRecord
    real = resolve.parse_record

    def same_beginning(kind: type, data: bytes, key: str) -> object:
        found = real(kind, data, key)
        return record(version=found.version, digest="0" * 8 + found.digest[8:], size_bytes=found.size_bytes,
                      published_at=found.published_at, claim=found.claim)

    monkeypatch.setattr(resolve, "parse_record", same_beginning)
    with pytest.raises(InvalidReference, match="is ambiguous"):
        shared.resolve("support/intents@sha256:00000000")


def test_same_content_under_two_numbers_is_not_ambiguous(tmp_path: Path) -> None:
    registry = Registry("memory://")
    folders = [write_adapter_folder(tmp_path / str(seed), seed=seed) for seed in range(2)]
    for folder in (*folders, folders[0]):
        registry.publish(folder, "a/b")
    assert registry.resolve(f"a/b@sha256:{registry.resolve('a/b@1').digest}").version == 3


def test_claimed_number_without_a_version_is_not_there(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    registry.publish(write_adapter_folder(tmp_path / "a"), "a/b")
    claimed = tmp_path / "registry/a/b/versions/2"
    claimed.mkdir()
    (claimed / "claim.json").write_bytes((tmp_path / "registry/a/b/versions/1/claim.json").read_bytes())
    assert registry.resolve("a/b").version == 1
    with pytest.raises(AdapterNotFound):
        registry.resolve("a/b@2")
    assert registry.publish(write_adapter_folder(tmp_path / "b", seed=1), "a/b").version == 3


def test_foreign_folders_beside_the_adapters_are_not_adapters(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    for name in (".git/objects/versions/1", "Upper/x/versions/1", "a/b c/versions/1", "a/b/versions/01", "x"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "version.json").write_text("{}")
    assert registry.list() == []
    assert registry.paths() == ()


def test_damaged_version_record_is_never_passed_over_in_silence(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    for seed in range(2):
        registry.publish(write_adapter_folder(tmp_path / str(seed), seed=seed), "a/b")
    (tmp_path / "registry/a/b/versions/2/version.json").write_bytes(b"")
    with pytest.raises(InvalidFolder, match="cannot be trusted"):
        registry.resolve("a/b")


def test_version_record_copied_to_another_number_is_refused(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    for seed in range(2):
        registry.publish(write_adapter_folder(tmp_path / str(seed), seed=seed), "a/b")
    record = (tmp_path / "registry/a/b/versions/1/version.json").read_bytes()
    (tmp_path / "registry/a/b/versions/2/version.json").write_bytes(record)
    with pytest.raises(InvalidFolder, match="copied to 2"):
        registry.resolve("a/b")


def test_yanked_version_is_skipped_by_latest_and_found_when_named(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    for seed in range(2):
        registry.publish(write_adapter_folder(tmp_path / str(seed), seed=seed), "a/b")
    yanked = registry.yank("a/b@2", "wrong labels")
    assert yanked.is_yanked
    assert registry.resolve("a/b").version == 1
    assert registry.resolve("a/b@2") == registry.resolve(yanked.pinned) == yanked
    assert registry.read(yanked.pinned).digest == yanked.digest


def test_adapter_whose_versions_are_all_yanked_says_so(tmp_path: Path) -> None:
    registry = Registry("memory://")
    registry.publish(write_adapter_folder(tmp_path / "a"), "a/b")
    registry.yank("a/b", "wrong labels")
    with pytest.raises(AdapterNotFound, match="every version of it is yanked"):
        registry.resolve("a/b")


def test_second_yank_keeps_the_first_reason(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    registry.publish(write_adapter_folder(tmp_path / "a"), "a/b")
    for reason in ("first", "second"):
        registry.yank("a/b@1", reason)
    assert '"reason": "first"' in (tmp_path / "registry/a/b/versions/1/yanked.json").read_text()
