"""Who vouches for a version is proved by a signature, or it is refused where one is asked for."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from adapter_folders import write_adapter_folder

from adapterhub.adapter.folder import read_folder
from adapterhub.errors import InvalidConfig, PolicyRefused
from adapterhub.registry import Registry, SigningKey
from adapterhub.registry.backup import restore_backup, write_backup
from adapterhub.registry.copying import copy_adapter
from adapterhub.registry.policy import change_policy, read_policy
from adapterhub.registry.signing import require_trust_anchor
from adapterhub.runtime.cache import AdapterCache

pytest.importorskip("model_signing", reason="needs the extra signing")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pyOpenSSL, which model-signing calls

from signing_keys import write_certified_key, write_key, write_rsa_key  # noqa: E402  # needs cryptography too


@pytest.fixture
def anna(tmp_path: Path) -> SigningKey:
    return write_key(tmp_path, "anna")


@pytest.fixture
def public(anna: SigningKey, tmp_path: Path) -> str:
    return require_trust_anchor(tmp_path / "anna.pub")


@pytest.fixture
def signed(anna: SigningKey, tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "registry")
    registry.publish(write_adapter_folder(tmp_path / "a"), "a/b", signing_key=anna)
    return registry


@pytest.fixture
def bert(tmp_path: Path) -> str:
    """The public key of somebody else."""
    write_key(tmp_path, "bert")
    return require_trust_anchor(tmp_path / "bert.pub")


def require(registry: Registry, *keys: str) -> None:
    change_policy(registry.store, replace(read_policy(registry.store), needs_signature=True, keys=list(keys)),
                  at="now", by="anna")


def test_signature_by_a_trusted_key_holds_and_tells_who_signed(signed: Registry, public: str, tmp_path: Path) -> None:
    trusting = Registry(signed.where, trusted=[public])
    assert any(check.startswith("it is signed by key ") for check in trusting.verify("a/b").checks)
    assert trusting.pull("a/b", tmp_path / "pulled").digest == trusting.resolve("a/b").digest


def test_signature_that_nobody_checks_is_told_as_unchecked(signed: Registry) -> None:
    found = signed.verify("a/b")
    assert found.not_checked[-1].startswith("the signature (it is signed by a key ")
    assert not any("sign" in check for check in found.checks)


@pytest.mark.parametrize("act", [Registry.verify, Registry.read, lambda registry, reference: registry.pull(
    reference, Path(registry.where) / "x")])
def test_signature_by_another_key_is_refused(act, signed: Registry, bert: str) -> None:
    with pytest.raises(PolicyRefused, match=r"a/b@1 is signed by a key [0-9a-f]{12}, which no trusted key confirms"):
        act(Registry(signed.where, trusted=[bert]), "a/b")


def test_one_of_several_trusted_keys_is_enough(signed: Registry, public: str, bert: str) -> None:
    assert Registry(signed.where, trusted=[bert, public]).read("a/b")


def test_missing_signature_is_refused_where_one_is_asked_for(tmp_path: Path, public: str) -> None:
    Registry(tmp_path / "registry").publish(write_adapter_folder(tmp_path / "a"), "a/b")
    with pytest.raises(PolicyRefused, match="a/b@1 is not signed"):
        Registry(tmp_path / "registry", trusted=[public]).read("a/b")


def test_every_flipped_region_of_a_signature_is_found(signed: Registry, public: str) -> None:
    path = Path(signed.where) / "a/b/versions/1/signature.json"
    data, trusting = path.read_bytes(), Registry(signed.where, trusted=[public])
    for place in range(0, len(data), max(1, len(data) // 64)):
        path.unlink()
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1:])
        try:
            content = trusting.read("a/b")
        except PolicyRefused:
            continue
        assert content.files == read_folder(path.parent).files  # a sign between its parts, which says nothing
        assert b'"payload"' in path.read_bytes()


def test_signature_of_another_version_is_refused(signed: Registry, anna: SigningKey, public: str,
                                                 tmp_path: Path) -> None:
    signed.publish(write_adapter_folder(tmp_path / "other", seed=1), "a/b", signing_key=anna)
    first, second = (Path(signed.where) / f"a/b/versions/{number}/signature.json" for number in (1, 2))
    second.unlink()
    second.write_bytes(first.read_bytes())
    with pytest.raises(PolicyRefused, match=r"a/b@2 is signed by .*Hash mismatch"):
        Registry(signed.where, trusted=[public]).read("a/b@2")


@pytest.mark.parametrize("data", [b"", b"{}", b"[" * 100_000, b"\xff", b'{"verificationMaterial": 3}',
                                  b'{"verificationMaterial": {"publicKey": {}}, "dsseEnvelope": {}}'])
def test_what_is_no_signature_is_refused(data: bytes, signed: Registry, public: str) -> None:
    path = Path(signed.where) / "a/b/versions/1/signature.json"
    path.unlink()
    path.write_bytes(data)
    with pytest.raises(PolicyRefused):
        Registry(signed.where, trusted=[public]).read("a/b")


def test_policy_refuses_unsigned_publishes_and_leaves_nothing(tmp_path: Path, anna: SigningKey, public: str) -> None:
    registry = Registry(tmp_path / "registry")
    require(registry, public)
    folder = write_adapter_folder(tmp_path / "a")
    with pytest.raises(PolicyRefused, match="a/b is not signed"):
        registry.publish(folder, "a/b")
    with pytest.raises(PolicyRefused, match="which no trusted key confirms"):
        registry.publish(folder, "a/b", signing_key=write_key(tmp_path, "bert"))
    assert not (tmp_path / "registry/a").exists()
    assert registry.publish(folder, "a/b", signing_key=anna).is_new
    assert registry.read("a/b")


def test_policy_set_later_refuses_what_was_unsigned_until_it_is_signed(tmp_path: Path, anna: SigningKey,
                                                                      public: str) -> None:
    registry, folder = Registry(tmp_path / "registry"), write_adapter_folder(tmp_path / "a")
    registry.publish(folder, "a/b")
    require(registry, public)
    for act in (registry.read, registry.verify, lambda reference: registry.pull(reference, tmp_path / "pulled")):
        with pytest.raises(PolicyRefused, match="a/b@1 is not signed"):
            act("a/b")
    assert not registry.publish(folder, "a/b", signing_key=anna).is_new
    assert registry.read("a/b")


def test_policy_that_trusts_nobody_is_told(signed: Registry) -> None:
    require(signed)
    with pytest.raises(PolicyRefused, match="no key is trusted here"):
        signed.read("a/b")


def test_certificate_is_confirmed_by_its_root_and_tells_its_owner(tmp_path: Path) -> None:
    registry, key = Registry(tmp_path / "registry"), write_certified_key(tmp_path, "carla")
    registry.publish(write_adapter_folder(tmp_path / "a"), "a/b", signing_key=key)
    trusting = Registry(registry.where, trusted=[require_trust_anchor(tmp_path / "carla-root.crt")])
    assert "it is signed by CN=carla (certificate of CN=carla root)" in trusting.verify("a/b").checks
    write_certified_key(tmp_path, "dora")
    with pytest.raises(PolicyRefused, match="is signed by a certificate, which no trusted key confirms"):
        Registry(registry.where, trusted=[require_trust_anchor(tmp_path / "dora-root.crt")]).read("a/b")


def test_copy_and_backup_carry_signatures(signed: Registry, public: str, tmp_path: Path) -> None:
    copy, restored = Registry(tmp_path / "copy"), Registry(tmp_path / "restored")
    require(copy, public)
    list(copy_adapter(signed.store, copy.store, "a/b"))
    assert copy.read("a/b").digest == signed.resolve("a/b").digest
    write_backup(signed.store, tmp_path / "backup.tar")
    restore_backup(tmp_path / "backup.tar", restored.store)
    assert Registry(restored.where, trusted=[public]).read("a/b")


def test_copy_to_a_registry_that_asks_for_signatures_refuses_what_has_none(tmp_path: Path, public: str) -> None:
    source, target = Registry(tmp_path / "source"), Registry(tmp_path / "target")
    source.publish(write_adapter_folder(tmp_path / "a"), "a/b")
    require(target, public)
    with pytest.raises(PolicyRefused, match="a/b@1 is not signed"):
        list(copy_adapter(source.store, target.store, "a/b"))
    assert not (tmp_path / "target/a").exists()


def test_bytes_in_the_cache_need_the_signature_too(bucket: str, tmp_path: Path, public: str) -> None:
    registry = Registry(bucket)
    version = registry.publish(write_adapter_folder(tmp_path / "a"), "a/b")

    def fetch(through: Registry) -> object:
        cache = AdapterCache(through, host_bytes=0, disk_bytes=10**6, disk=tmp_path / "cache", n_fetchers=1)
        try:
            return cache.fetch(version)
        finally:
            cache.close()

    assert fetch(registry)
    assert (tmp_path / "cache" / version.digest).is_dir()
    with pytest.raises(PolicyRefused, match="a/b@1 is not signed"):
        fetch(Registry(bucket, trusted=[public]))


@pytest.mark.parametrize("spoil", [lambda file: file.unlink(), lambda file: file.write_text("no key"),
                                   lambda file: write_rsa_key(file.parent).rename(file)])
def test_key_that_cannot_sign_is_told_and_nothing_is_published(spoil, anna: SigningKey, tmp_path: Path) -> None:
    spoil(anna.key)
    with pytest.raises(InvalidConfig, match=r"anna.pem cannot sign: .*openssl ecparam"):
        Registry(tmp_path / "registry").publish(write_adapter_folder(tmp_path / "a"), "a/b", signing_key=anna)
    assert not (tmp_path / "registry").exists()


def test_private_key_is_no_trust_anchor(anna: SigningKey) -> None:
    with pytest.raises(InvalidConfig, match="is no public key or certificate"):
        require_trust_anchor(anna.key)


def test_missing_library_is_told(anna: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InvalidConfig, match=r"Signatures need model-signing.*pip install 'adapterhub\[signing\]'"):
        Registry(tmp_path / "registry").publish(write_adapter_folder(tmp_path / "a"), "a/b", signing_key=anna)


def test_library_is_imported_only_when_asked(tmp_path: Path) -> None:
    folder = write_adapter_folder(tmp_path / "a")
    code = (f"import sys; from adapterhub.registry import Registry; r = Registry({str(tmp_path / 'registry')!r}); "
            f"r.publish({str(folder)!r}, 'a/b'); r.verify('a/b'); sys.exit('model_signing' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_stock_model_signing_checks_a_pulled_folder(signed: Registry, tmp_path: Path) -> None:
    from model_signing import verifying

    signed.pull("a/b", tmp_path / "pulled")
    config = verifying.Config().use_elliptic_key_verifier(public_key=tmp_path / "anna.pub")
    config.set_ignore_unsigned_files(True)
    config.verify(tmp_path / "pulled", Path(signed.where) / "a/b/versions/1/signature.json")


def test_key_that_the_policy_does_not_trust_signs_nothing_that_is_there(tmp_path: Path, anna: SigningKey,
                                                                        public: str) -> None:
    registry, folder = Registry(tmp_path / "registry"), write_adapter_folder(tmp_path / "a")
    registry.publish(folder, "a/b")
    require(registry, public)
    with pytest.raises(PolicyRefused, match="which no trusted key confirms"):
        registry.publish(folder, "a/b", signing_key=write_key(tmp_path, "bert"))
    registry.publish(folder, "a/b", signing_key=anna)  # the right key still can
    assert registry.read("a/b")


def test_second_signer_of_one_version_is_told_of_the_first(signed: Registry, anna: SigningKey, tmp_path: Path) -> None:
    signed.publish(tmp_path / "a", "a/b", signing_key=anna)  # the same signer again changes nothing
    with pytest.raises(PolicyRefused, match=r"a/b@1 is signed by a key \w{12} already"):
        signed.publish(tmp_path / "a", "a/b", signing_key=write_key(tmp_path, "bert"))


def test_copy_brings_no_signature_that_the_target_does_not_trust(tmp_path: Path, public: str) -> None:
    folder, target = write_adapter_folder(tmp_path / "a"), Registry(tmp_path / "target")
    target.publish(folder, "a/b")
    source = Registry(tmp_path / "source")
    list(copy_adapter(target.store, source.store, "a/b"))
    source.publish(folder, "a/b", signing_key=write_key(tmp_path, "bert"))
    require(target, public)
    with pytest.raises(PolicyRefused, match="which no trusted key confirms"):
        list(copy_adapter(source.store, target.store, "a/b"))
    assert not (tmp_path / "target/a/b/versions/1/signature.json").exists()


@pytest.mark.parametrize("material", ['{"publicKey": null}', '{"publicKey": 3}',
                                      '{"publicKey": {"hint": "\\u001b[2J"}}'])
def test_damaged_signature_is_told_in_words_of_ours(material: str, signed: Registry) -> None:
    path = Path(signed.where) / "a/b/versions/1/signature.json"
    path.unlink()
    path.write_text(f'{{"verificationMaterial": {material}}}')
    told = [*signed.verify("a/b").not_checked]
    assert any("damaged signature" in line for line in told)
    assert not any("\x1b" in line for line in told)
