"""One small protocol over folders, buckets and memory: create once, never change."""

from pathlib import Path

import obstore
import pytest
from obstore.store import GCSStore, S3Store
from registry_workers import in_clean_process, used_after_fork

from adapterhub.errors import InvalidFolder, StorageError, UnknownName
from adapterhub.registry.records import ClaimRecord, VersionRecord, parse_record, to_bytes
from adapterhub.registry.stores import LocalPlace, ObjectPlace, Store, open_store


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return open_store(tmp_path / "place" if request.param == "local" else "memory://")


def test_object_is_created_once_and_never_changed(store: Store) -> None:
    assert store.create("a/b", b"first")
    assert not store.create("a/b", b"second")
    assert store.get("a/b") == b"first"


def test_absent_object_is_none(store: Store) -> None:
    store.create("a/b", b"1")
    assert [store.get(key) for key in ("x", "a/c", "a/b/c")] == [None] * 3
    assert [store.exists(key) for key in ("a/b", "a", "a/c")] == [True, False, False]


def test_keys_and_folders_are_listed_in_order(store: Store) -> None:
    for key in ("n/b/2", "n/a/1", "n/a/0", "m/x", "top"):
        store.create(key, b"")
    assert store.keys("n") == ["n/a/0", "n/a/1", "n/b/2"]
    assert store.folders("n") == ["a", "b"]
    assert [name for name in store.folders("") if not name.startswith(".")] == ["m", "n"]
    assert store.keys("absent") == store.folders("absent") == []


def test_nothing_stays_behind_of_an_object_on_its_way(tmp_path: Path) -> None:
    store = open_store(tmp_path / "place")
    store.create("a/b", b"1")
    store.create("a/b", b"2")
    assert sorted(path.name for path in (tmp_path / "place").rglob("*")) == [".staged", "a", "b"]
    assert (tmp_path / "place/a/b").stat().st_nlink == 1


def test_key_that_leaves_the_place_is_refused(store: Store) -> None:
    store.create("a/b", b"1")
    with pytest.raises(StorageError):
        store.create("../x", b"1")


def test_file_address_is_a_path(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}/a%20b")
    assert isinstance(store, LocalPlace)
    assert store.root == tmp_path / "a b"


@pytest.mark.parametrize(("address", "kind"), [("s3://bucket/some/prefix", S3Store), ("gs://bucket/prefix", GCSStore)])
def test_bucket_address_opens_its_store(address: str, kind: type) -> None:
    store = open_store(address)
    assert isinstance(store, ObjectPlace)
    assert isinstance(store._store, kind)
    assert store._store.prefix == address.split("/", 3)[3]
    assert (store.place, store.root) == (address, None)


def test_azure_address_without_an_account_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(StorageError, match="Account must be specified"):
        open_store("az://container/prefix")


@pytest.mark.parametrize("address", ["ftp://host/x", "https://host/x"])
def test_unknown_scheme_is_refused_with_the_known(address: str) -> None:
    with pytest.raises(UnknownName, match="known: a path, abfs, abfss, az, file, gs, hf, s3, s3a"):
        open_store(address)


@pytest.mark.parametrize(("error", "words"), [
    (obstore.exceptions.PermissionDeniedError("403 Forbidden"), "refused the credentials"),
    (obstore.exceptions.UnauthenticatedError("no token"), "refused the credentials"),
    (obstore.exceptions.GenericError("Generic S3 error: connection reset\n\nDebug: x"),
         "cannot be reached: the connection failed (Generic S3 error: connection reset). Check"),
    (PermissionError("Unable to open file x: Permission denied (os error 13)"), "Permission denied"),
])
def test_foreign_error_becomes_one_sentence(error: Exception, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    store = open_store("memory://")
    monkeypatch.setattr(obstore, "put", fail)
    with pytest.raises(StorageError) as caught:
        store.create("a", b"")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bucket_used_before_a_fork_is_refused_in_the_child_and_does_not_hang() -> None:
    assert in_clean_process(used_after_fork, [("memory://",)]) == [1]


RECORD = VersionRecord(version=1, digest="d" * 64, size_bytes=9, published_at="now", claim="c")


def test_record_survives_writing_and_reading() -> None:
    assert parse_record(VersionRecord, to_bytes(RECORD), "x") == RECORD


def test_any_changed_byte_of_a_record_is_found() -> None:
    data = to_bytes(RECORD)
    for place in range(len(data)):
        with pytest.raises(InvalidFolder):
            parse_record(VersionRecord, data[:place] + bytes([data[place] ^ 1]) + data[place + 1:], "x")


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{}", b"[" * 100_000, b"\xff"])
def test_bytes_that_are_no_record_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidFolder, match="cannot be trusted"):
        parse_record(VersionRecord, data, "x")


def test_record_of_another_kind_is_refused() -> None:
    with pytest.raises(InvalidFolder, match="of another format"):
        parse_record(VersionRecord, to_bytes(ClaimRecord(id="x", at="now")), "x")
