"""`token`: bearer tokens of the server, made, listed and revoked; only their hashes are kept."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapterhub.cli.output import guarded, json_option, print_json, print_table

if TYPE_CHECKING:
    from adapterhub.server.tokens import TokenRecord, Tokens

place_option = click.option("--tokens", "place", metavar="FOLDER", type=click.Path(path_type=Path),
                            help="Where they are kept; default: ADAPTERHUB_TOKENS, else your data folder.")


@click.group()
def token() -> None:
    """Bearer tokens of `adapterhub serve`: who may predict, give feedback or manage, in which namespaces."""


@token.command(epilog="Example: adapterhub token create 'the support desk' --scope predict --namespace support")
@click.argument("name")
@click.option("--scope", "scopes", multiple=True,
              help="predict, feedback or manage; may be repeated.  [default: predict]")
@click.option("--namespace", "namespaces", multiple=True, help="May be repeated.  [default: all of them]")
@click.option("--days", type=click.FloatRange(min=0, min_open=True), help="It ends after so many; default: never.")
@place_option
@json_option
@guarded
def create(name: str, scopes: tuple[str, ...], namespaces: tuple[str, ...], days: float | None, place: Path | None,
           as_json: bool) -> None:
    """Make a token and print it; it is shown this once."""
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    made, record = _tokens(place).create(name, scopes or ("predict",), namespaces or ("*",), expires_at)
    if as_json:
        print_json({"token": made, **_facts(record)})
    else:
        click.echo(made)
        click.echo(f"Token {record.id} may {', '.join(record.scopes)} in {_spaces(record)}; it is not shown again.",
                   err=True)


@token.command("list", epilog="Example: adapterhub token list --json")
@place_option
@json_option
@guarded
def list_tokens(place: Path | None, as_json: bool) -> None:
    """List the tokens that are kept, without what would let anybody in."""
    records = _tokens(place).list()
    if as_json:
        print_json([_facts(record) for record in records])
    else:
        print_table(f"{len(records)} tokens", ("id", "name", "scopes", "namespaces", "made", "ends"),
                    [(record.id, record.name, ", ".join(record.scopes), _spaces(record), record.created_at,
                      record.expires_at or "never") for record in records])


@token.command(epilog="Example: adapterhub token revoke 1f0c22ab")
@click.argument("token_id", metavar="ID")
@place_option
@json_option
@guarded
def revoke(token_id: str, place: Path | None, as_json: bool) -> None:
    """Let a token be known no more; a running server notices within a second."""
    record = _tokens(place).revoke(token_id)
    if as_json:
        print_json(_facts(record))
    else:
        click.echo(f"Token {record.id} ({record.name}) is revoked.")


def _tokens(place: Path | None) -> "Tokens":
    from adapterhub.server.tokens import Tokens, default_place

    return Tokens(place or default_place())


def _facts(record: "TokenRecord") -> dict[str, object]:
    return {"id": record.id, "name": record.name, "scopes": list(record.scopes), "namespaces": list(record.namespaces),
            "created_at": record.created_at, "expires_at": record.expires_at}


def _spaces(record: "TokenRecord") -> str:
    return "all namespaces" if record.namespaces == ("*",) else ", ".join(record.namespaces)
