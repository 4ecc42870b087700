"""`adapterhub token`: made once, listed without what would let anybody in, revoked."""

import json
from pathlib import Path

from command_line import Cli

from adapterhub.server.tokens import Tokens


def test_commands_make_list_and_revoke(cli: Cli, tmp_path: Path) -> None:
    place = tmp_path / "kept"
    made = cli("token", "create", "the desk", "--namespace", "support", "--days", "2", "--tokens", place, "--json").json
    assert (made["scopes"], made["namespaces"]) == (["predict"], ["support"])
    assert Tokens(place).holder_of(made["token"]) is not None
    listed, = cli("token", "list", "--tokens", place, "--json").json
    assert listed == {name: value for name, value in made.items() if name != "token"}
    assert made["token"] not in cli("token", "list", "--tokens", place).out
    assert json.loads(cli("token", "revoke", made["id"], "--tokens", place, "--json").out)["id"] == made["id"]
    assert Tokens(place).list() == []
    assert "token list" in cli("token", "revoke", made["id"], "--tokens", place).refusal()
    assert "Did you mean predict?" in cli("token", "create", "x", "--scope", "predic", "--tokens", place).refusal()
