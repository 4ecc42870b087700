"""The registry on S3, against a server that speaks its protocol: the same promises, and each fault in one sentence."""

from pathlib import Path

import pytest
from adapter_folders import write_adapter_folder
from s3_server import S3Server, s3_server

from adapterhub.adapter.folder import FOLDER_FILES
from adapterhub.errors import AdapterNotFound, StorageError
from adapterhub.registry import Query, Registry, clouds
from adapterhub.registry.copying import copy_adapter
from adapterhub.registry.stores import open_store


def test_published_version_comes_back_from_s3_with_the_same_bytes(bucket: str, tmp_path: Path) -> None:
    folder, registry = write_adapter_folder(tmp_path / "a"), Registry(bucket)
    published = registry.publish(folder, "support/intents")
    assert (published.reference, published.place) == ("support/intents@1", bucket)
    pulled = registry.pull("support/intents", tmp_path / "b")
    assert pulled.files == {name: (folder / name).read_bytes() for name in FOLDER_FILES}
    assert registry.verify("support/intents").version == registry.resolve("support/intents")


def test_aliases_search_and_yank_work_on_s3(bucket: str, tmp_path: Path) -> None:
    registry = Registry(bucket)
    for seed in range(2):
        registry.publish(write_adapter_folder(tmp_path / str(seed), seed=seed), "support/intents")
        registry.promote(f"support/intents@{seed + 1}", "production")
    registry.rollback("support/intents@production")
    registry.yank("support/intents@2", "wrong labels")
    assert [move.version for move in registry.history("support/intents@production")] == [1, 2, 1]
    assert [found.version.version for found in registry.search(Query(text="loan"))] == [1]
    assert registry.local_path("support/intents") is None


def test_object_is_created_once_on_s3(bucket: str) -> None:
    store = open_store(bucket)
    assert store.create("a/b", b"first")
    assert not store.create("a/b", b"second")
    assert (store.get("a/b"), store.get("a/c"), store.exists("a/b"), store.exists("a/c")) == (b"first", None, True,
                                                                                              False)
    store.create("a/d/e", b"12")
    assert (store.keys("a"), store.folders("a")) == (["a/b", "a/d/e"], ["d"])
    assert [(entry.key, entry.size_bytes) for entry in store.entries("a/d")] == [("a/d/e", 2)]
    store.delete("a/d/e")
    store.delete("a/d/e")
    assert store.keys("a") == ["a/b"]


def test_missing_bucket_is_told(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    registry, folder = Registry("s3://nowhere-at-all/x"), write_adapter_folder(tmp_path / "a")
    for ask in (lambda: registry.publish(folder, "a/b"), lambda: registry.resolve("a/b"), registry.list):
        with pytest.raises(StorageError, match=r"The bucket of s3://nowhere-at-all/x does not exist\. Create it"):
            ask()


def test_empty_place_in_a_bucket_is_an_empty_registry(bucket: str) -> None:
    assert Registry(bucket).list() == []
    with pytest.raises(AdapterNotFound):
        Registry(bucket).resolve("a/b")


def test_refused_credentials_are_told_without_the_secret(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from moto.core import set_initial_no_auth_action_count

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDUNKNOWN")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mysecret")
    with pytest.raises(StorageError) as caught:
        set_initial_no_auth_action_count(0)(Registry(bucket).list)()  # moto: from the first request on, ask who it is
    assert "refused the credentials" in str(caught.value)
    assert "mysecret" not in str(caught.value)


def test_missing_credentials_are_told(bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(clouds, "RETRIES", clouds.RETRIES | {"max_retries": 0})
    with pytest.raises(StorageError, match="refused the credentials, or none were found"):
        Registry(bucket).list()


def test_credentials_are_taken_from_a_shared_file(bucket: str, monkeypatch: pytest.MonkeyPatch,
                                                  tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = test\naws_secret_access_key = test\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    assert Registry(bucket).list() == []


def test_connection_that_breaks_off_in_the_middle_is_told_and_leaves_nothing(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clouds, "RETRIES", clouds.RETRIES | {"max_retries": 1})
    with s3_server() as server:
        server.create_bucket("adapters")
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        registry, local = Registry("s3://adapters/cut"), Registry(tmp_path / "local")
        registry.publish(write_adapter_folder(tmp_path / "a"), "a/b")
        server.cuts_answers = True
        for act in (lambda: registry.pull("a/b", tmp_path / "pulled"), lambda: registry.verify("a/b"),
                    lambda: list(copy_adapter(registry.store, local.store, "a/b"))):
            with pytest.raises(StorageError, match=r"cannot be reached.*run the same command again") as caught:
                act()
            assert "\n" not in str(caught.value)
        assert not (tmp_path / "pulled").exists()
        assert local.list() == []
        server.cuts_answers = False
        list(copy_adapter(registry.store, local.store, "a/b"))
        assert registry.pull("a/b", tmp_path / "pulled").digest == local.verify("a/b").version.digest


def test_lost_network_is_told_and_nothing_is_visible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clouds, "RETRIES", clouds.RETRIES | {"max_retries": 1})
    folder = write_adapter_folder(tmp_path / "a")
    with s3_server() as server:
        server.create_bucket("adapters")
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        server.requests_left = 6
        with pytest.raises(StorageError) as caught:
            Registry("s3://adapters/x").publish(folder, "a/b")
        assert "\n" not in str(caught.value)
        server.requests_left = None
        assert Registry("s3://adapters/x").versions("a/b") == []
        assert Registry("s3://adapters/x").publish(folder, "a/b").is_new
    with pytest.raises(StorageError, match=r"s3://adapters/x cannot be reached.*run the same command again"):
        Registry("s3://adapters/x").list()
