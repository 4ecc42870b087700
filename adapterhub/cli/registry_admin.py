"""Commands that keep a registry in order: at, yank, sweep, copy, backup, restore, watch, policy."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapterhub.cli.output import guarded, json_option, print_json, print_table, registry_option

if TYPE_CHECKING:
    from adapterhub.registry.records import PolicyRecord


@click.command(epilog="Example: adapterhub at support/intents@production 2026-11-02T09:30")
@click.argument("reference", metavar="NAMESPACE/NAME@ALIAS")
@click.argument("time", type=click.DateTime(["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d"]))
@registry_option
@json_option
@guarded
def at(reference: str, time: datetime, place: str | None, as_json: bool) -> None:
    """Say which version an alias meant at a time (UTC unless the time names its zone)."""
    from adapterhub.cli.places import open_places

    registries, _ = open_places(place)
    move = registries.move_at(reference, time if time.tzinfo else time.replace(tzinfo=UTC))
    if as_json:
        print_json({"alias": reference, "version": move.version, "digest": move.digest, "since": move.at})
    else:
        click.echo(f"{reference} meant version {move.version} (sha256:{move.digest[:12]}), since {move.at}.")


@click.command(epilog="Example: adapterhub yank support/intents@2 --reason 'labels were swapped'")
@click.argument("reference")
@click.option("--reason", required=True, help="Why nobody should take it any more.")
@registry_option
@json_option
@guarded
def yank(reference: str, reason: str, place: str | None, as_json: bool) -> None:
    """Mark a version as not to be taken any more; its bytes stay for those who name it."""
    from adapterhub.cli.places import open_places

    registries, _ = open_places(place)
    version = registries.yank(reference, reason)
    _tell(as_json, {"reference": version.reference, "digest": version.digest, "is_yanked": version.is_yanked},
          f"{version.reference} is yanked: {reason}")


@click.command(epilog="Example: adapterhub sweep --older-than 24 --delete")
@click.option("--older-than", "hours", type=float, default=24.0, show_default=True, help="Hours since the last write.")
@click.option("--delete", "is_deleted", is_flag=True, help="Delete them; without it they are only listed.")
@registry_option
@json_option
@guarded
def sweep(hours: float, is_deleted: bool, place: str | None, as_json: bool) -> None:
    """Find what abandoned uploads left behind, and delete it."""
    from adapterhub.cli.places import open_places
    from adapterhub.registry.sweep import find_remains
    from adapterhub.registry.sweep import sweep as delete_remains

    registries, _ = open_places(place)
    store = registries.own.store
    remains = find_remains(store, now=datetime.now(UTC), min_age=timedelta(hours=hours))
    if is_deleted:
        delete_remains(store, remains)
    lines = [{"what": part.what, "objects": len(part.entries), "bytes": part.size_bytes} for part in remains]
    if as_json:
        print_json({"is_deleted": is_deleted, "remains": lines})
    else:
        print_table(f"{'Deleted' if is_deleted else 'Abandoned'} in {store.place}", ("what", "objects", "bytes"),
                    [list(line.values()) for line in lines])


@click.command("copy", epilog="Example: adapterhub copy support/intents --to s3://bucket/adapters")
@click.argument("names", nargs=-1, metavar="[NAMESPACE/NAME]...")
@click.option("--to", "target", required=True, metavar="PLACE", help="The registry to copy to.")
@registry_option
@json_option
@guarded
def copy_adapters(names: tuple[str, ...], target: str, place: str | None, as_json: bool) -> None:
    """Copy adapters, or all, with every version, alias and gate to another registry; again goes on where it ended."""
    from adapterhub.adapter.reference import parse_path
    from adapterhub.cli.places import current_user, open_places
    from adapterhub.registry import Registry
    from adapterhub.registry.copying import copy_adapter

    registries, _ = open_places(place)
    source, other = registries.own, Registry(target, by=current_user())
    paths = [parse_path(name).path for name in names] or list(source.paths())
    for path in paths:
        source.resolve(path)  # one that is not there is told before anything is copied
    for path in paths:
        done = list(copy_adapter(source.store, other.store, path))
        n_new = sum(part.is_new for part in done)
        _tell(as_json, {"name": path, "copied": n_new, "were_there": len(done) - n_new, "registry": other.where},
              f"{path}: {n_new} copied, {len(done) - n_new} were there.")


@click.command(epilog="Example: adapterhub backup registry.tar")
@click.argument("file", type=click.Path(path_type=Path))
@registry_option
@json_option
@guarded
def backup(file: Path, place: str | None, as_json: bool) -> None:
    """Write the whole registry into one tar file."""
    from adapterhub.cli.places import open_places
    from adapterhub.registry.backup import write_backup

    registries, _ = open_places(place)
    count = write_backup(registries.own.store, file)
    _tell(as_json, {"objects": count, "file": str(file)}, f"{count} objects of {registries.own.where} are in {file}.")


@click.command(epilog="Example: adapterhub restore registry.tar --registry new-place")
@click.argument("file", type=click.Path(path_type=Path))
@registry_option
@json_option
@guarded
def restore(file: Path, place: str | None, as_json: bool) -> None:
    """Put what a backup holds into a registry; nothing that is there is changed."""
    from adapterhub.cli.places import open_places
    from adapterhub.registry.backup import restore_backup

    registries, _ = open_places(place)
    count = restore_backup(file, registries.own.store)
    _tell(as_json, {"new_objects": count, "registry": registries.own.where},
          f"{count} objects are new in {registries.own.where}.")


@click.command(epilog="Example: adapterhub watch support/intents")
@click.argument("names", nargs=-1, metavar="[NAMESPACE/NAME]...")
@click.option("--interval", "interval_s", type=float, default=2.0, show_default=True, help="Seconds between two looks.")
@registry_option
@guarded
def watch(names: tuple[str, ...], interval_s: float, place: str | None) -> None:
    """Print each move of an alias as one line of JSON, from now on."""
    import time

    from adapterhub.cli.places import open_places
    from adapterhub.registry.watch import watch as moves_from_now_on

    registries, _ = open_places(place)
    for move in moves_from_now_on(registries.own.store, lambda: time.sleep(interval_s), names):
        print_json({"alias": f"{move.path}@{move.alias}", "number": move.number, "version": move.version,
                    "digest": move.digest, "action": move.action, "at": move.at, "by": move.by,
                    "is_forced": move.is_forced})
        sys.stdout.flush()


@click.command(epilog="Example: adapterhub policy --quota support=500000000")
@click.option("--quota", "quotas", multiple=True, metavar="NAMESPACE=BYTES", help="The most a namespace may hold; "
              "an empty number takes the quota away.")
@click.option("--require-signature/--no-require-signature", "needs_signature", default=None,
              help="Whether what no trusted key has signed is refused, published or read.")
@click.option("--trust", multiple=True, metavar="FILE", type=click.Path(path_type=Path),
              help="A public key or certificate (PEM) whose signatures count; give it again for several.")
@click.option("--distrust", multiple=True, metavar="FILE", type=click.Path(path_type=Path),
              help="A key or certificate whose signatures count no more.")
@registry_option
@json_option
@guarded
def policy(quotas: tuple[str, ...], needs_signature: bool | None, trust: tuple[Path, ...],
           distrust: tuple[Path, ...], place: str | None, as_json: bool) -> None:
    """Show what a registry asks: how much each namespace may hold, and whose signatures count; or change it."""
    from dataclasses import replace

    from adapterhub.cli.places import open_places
    from adapterhub.registry.policy import change_policy, read_policy
    from adapterhub.registry.signing import changed_keys

    registries, _ = open_places(place)
    store, mark = registries.own.store, registries.own.mark()
    record = read_policy(store)
    if quotas or trust or distrust or needs_signature is not None:
        wanted = replace(record, quotas=_changed_quotas(record.quotas, quotas),
                         keys=changed_keys(record.keys, trust, distrust),
                         needs_signature=record.needs_signature if needs_signature is None else needs_signature)
        record = change_policy(store, wanted, at=mark.at, by=mark.by)
    _print_policy(record, as_json)


def _tell(as_json: bool, facts: dict[str, object], sentence: str) -> None:
    if as_json:
        print_json(facts)
    else:
        click.echo(sentence)


def _changed_quotas(quotas: dict[str, int], given: tuple[str, ...]) -> dict[str, int]:
    changed = dict(quotas)
    for text in given:
        namespace, separator, number = text.partition("=")
        if not separator or (number and not number.isdecimal()):
            raise click.BadParameter(f"--quota {text!r} is not NAMESPACE=BYTES, for instance support=500000000.")
        changed.pop(namespace, None)
        if number:
            changed[namespace] = int(number)
    return changed


def _print_policy(record: "PolicyRecord", as_json: bool) -> None:
    from adapterhub.registry.signing import shown_key

    keys = [shown_key(pem) for pem in record.keys]
    if as_json:
        print_json({"quotas": record.quotas, "needs_signature": record.needs_signature, "keys": keys,
                    "at": record.at, "by": record.by})
        return
    if record.needs_signature or keys:
        click.echo(f"Signatures are {'required' if record.needs_signature else 'not required'}; "
                   f"trusted: {', '.join(keys) or 'nobody'}.")
    if not record.quotas:
        click.echo("No namespace has a quota.")
    for namespace, number in sorted(record.quotas.items()):
        click.echo(f"{namespace} may hold {number:,} bytes.")
