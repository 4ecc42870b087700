"""Signing, trusting and requiring signatures from the command line."""

from pathlib import Path

import pytest
from adapter_folders import write_adapter_folder
from command_line import Cli

pytest.importorskip("model_signing", reason="needs the extra signing")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pyOpenSSL, which model-signing calls

from signing_keys import write_key  # noqa: E402  # needs cryptography, which the extra brings


def test_commands_sign_trust_and_require(cli: Cli, tmp_path: Path) -> None:
    anna, folder = write_key(tmp_path, "anna"), write_adapter_folder(tmp_path / "a")
    write_key(tmp_path, "bert")
    told = cli("policy", "--trust", tmp_path / "anna.pub", "--require-signature")
    assert told.out.startswith("Signatures are required; trusted: key ")
    assert "a/b is not signed" in cli("publish", folder, "a/b").refusal()
    assert cli("publish", folder, "a/b", "--sign-key", anna.key).exit_code == 0
    assert "it is signed by key " in cli("verify", "a/b").out
    refused = cli("pull", "a/b", tmp_path / "b", "--trust", tmp_path / "bert.pub")
    assert "which no trusted key confirms" in refused.refusal()
    assert cli("policy", "--distrust", tmp_path / "anna.pub", "--json").json["keys"] == []
    assert "no key is trusted here" in cli("verify", "a/b").refusal()


def test_certificate_without_its_key_is_refused(cli: Cli, tmp_path: Path) -> None:
    write_adapter_folder(tmp_path / "a")
    refused = cli("publish", tmp_path / "a", "a/b", "--sign-certificate", tmp_path / "a.crt")
    assert (refused.exit_code, "needs the --sign-key" in refused.err) == (2, True)
