"""Commands on a registry: publish, list, show, pull, verify, promote, rollback, history."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapterhub.cli.output import (
    fail,
    guarded,
    json_option,
    output_console,
    print_json,
    print_table,
    registry_option,
    trust_option,
)

if TYPE_CHECKING:
    from adapterhub.registry import AliasMove, Listing


@click.command(epilog="Example: adapterhub publish folder support/intents --alias production")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("name", metavar="NAMESPACE/NAME")
@click.option("--version", type=int, help="Demand this version number.")
@click.option("--alias", help="Move this alias to the version.")
@click.option("--sign-key", metavar="FILE", type=click.Path(path_type=Path),
              help="Sign it with this private key (PEM, EC); needs the extra signing.")
@click.option("--sign-certificate", metavar="FILE", type=click.Path(path_type=Path),
              help="The key's certificate (PEM), with those between it and its root behind it.")
@registry_option
@json_option
@guarded
def publish(folder: Path, name: str, version: int | None, alias: str | None, sign_key: Path | None,
            sign_certificate: Path | None, place: str | None, as_json: bool) -> None:
    """Publish an adapter folder as the next version; it never changes afterwards."""
    from adapterhub.adapter.reference import parse_path, require_alias
    from adapterhub.cli.gate_measure import measure_by_runtime
    from adapterhub.cli.places import open_places
    from adapterhub.registry import SigningKey

    parse_path(name)
    if alias:
        require_alias(alias)
    registries, settings = open_places(place)
    if sign_certificate and not sign_key:
        raise click.UsageError("--sign-certificate needs the --sign-key that it is of.")
    signing_key = SigningKey(key=sign_key, certificate=sign_certificate) if sign_key else None
    published = registries.publish(folder, name, version, signing_key=signing_key)
    if alias:
        registries.promote(published.reference, alias, evaluate=measure_by_runtime(settings))
    if as_json:
        print_json({"reference": published.reference, "digest": published.digest, "is_new": published.is_new,
                    "registry": published.place, "alias": alias})
    else:
        done = "Published" if published.is_new else "Nothing new; this content is already"
        click.echo(f"{done} {published.reference} (sha256:{published.digest[:12]}, {published.size_bytes:,} bytes) "
                   f"in {published.place}.")
        if alias:
            click.echo(f"{name}@{alias} -> {published.reference}")


@click.command("list", epilog="Example: adapterhub list --json")
@registry_option
@json_option
@guarded
def list_adapters(place: str | None, as_json: bool) -> None:
    """List every adapter by its latest version."""
    from adapterhub.cli.places import open_places

    registries, _ = open_places(place)
    print_listings(registries.list(), registries.where, as_json)


@click.command(epilog="Example: adapterhub show support/banking77")
@click.argument("reference")
@click.option("--tree", "is_tree", is_flag=True, help="Show instead what it was made of, and what was made of it: "
              "versions of its own name, and the latest of others.")
@registry_option
@json_option
@guarded
def show(reference: str, is_tree: bool, place: str | None, as_json: bool) -> None:
    """Show one version: its card, or its manifest with --json; with --tree where it comes from."""
    import json

    from adapterhub.adapter.folder import CARD_FILE
    from adapterhub.adapter.manifest import MANIFEST_FILE
    from adapterhub.cli.places import open_places
    from adapterhub.cli.tree import show_tree

    registries, settings = open_places(place)
    if is_tree:
        show_tree(registries, reference, settings.cache, as_json)
        return
    version = registries.resolve(reference)
    folder = registries.read(version)
    if as_json:
        print_json({"reference": version.reference, "digest": version.digest, "is_yanked": version.is_yanked,
                    "manifest": json.loads(folder.files[MANIFEST_FILE])})
        return
    from rich.markdown import Markdown

    card = folder.files[CARD_FILE].decode(errors="replace").split("---\n", 2)[-1]
    click.echo(f"{version.reference}  sha256:{version.digest}  {version.size_bytes:,} bytes  in {version.place}"
               f"{'  yanked' if version.is_yanked else ''}")
    output_console().print(Markdown(card))


@click.command(epilog="Example: adapterhub pull support/banking77@production folder")
@click.argument("reference")
@click.argument("folder", type=click.Path(path_type=Path))
@trust_option
@registry_option
@json_option
@guarded
def pull(reference: str, folder: Path, trust: tuple[Path, ...], place: str | None, as_json: bool) -> None:
    """Copy a version into a new folder, every digest compared."""
    from adapterhub.cli.places import open_places

    registries, _ = open_places(place, trust)
    version = registries.resolve(reference)
    registries.pull(version, folder)
    if as_json:
        print_json({"reference": version.reference, "digest": version.digest, "folder": str(folder)})
    else:
        click.echo(f"Pulled {version.reference} (sha256:{version.digest[:12]}) to {folder}; every digest agrees.")


@click.command(epilog="Example: adapterhub verify support/banking77 --base embedded")
@click.argument("reference", required=False)
@click.option("--all", "is_all", is_flag=True, help="Check every version of the registry, and go on after a fault.")
@click.option("--base", help="Also check against this base, and run the probe on it.")
@trust_option
@registry_option
@json_option
@guarded
def verify(reference: str | None, is_all: bool, base: str | None, trust: tuple[Path, ...], place: str | None,
           as_json: bool) -> None:
    """Check a version's digests, structure and signature; with --base also that it computes what it did once."""
    from adapterhub.cli.places import open_places
    from adapterhub.cli.verification import check_version, open_base, verify_everything

    if is_all == (reference is not None):
        raise click.UsageError("Give a reference, or --all.")
    registries, settings = open_places(place, trust)
    if reference is None:
        verify_everything(registries.own, base, settings, as_json)
        return
    version, checks, not_checked, unreached = check_version(registries, reference, open_base(base, settings))
    if as_json:
        print_json({"reference": version.reference, "digest": version.digest, "checks": checks,
                    "not_checked": not_checked})
    else:
        click.echo(f"{version.reference} is whole: {'; '.join(checks)}.")
        if not_checked:
            hint = "" if base else " Give --base embedded, or the adapter's own base."
            click.echo(f"Not checked: {'; '.join(not_checked)}.{hint}")
    if unreached:
        fail(f"The probe was not run: {unreached}")


@click.command(epilog="Example: adapterhub promote support/intents@2 production")
@click.argument("reference")
@click.argument("alias")
@click.option("--expected", type=int, help="Only if this is the number of the alias's last move (0: it never moved).")
@click.option("--force", "is_forced", is_flag=True, help="Past the alias's gate; its history will say so.")
@click.option("--base", help="What the gate measures on, where the adapter's own base has moved.")
@registry_option
@json_option
@guarded
def promote(reference: str, alias: str, expected: int | None, is_forced: bool, base: str | None, place: str | None,
            as_json: bool) -> None:
    """Move an alias to a version, through its gate where it has one."""
    from adapterhub.cli.gate_measure import measure_by_runtime
    from adapterhub.cli.places import open_places

    registries, settings = open_places(place)
    _print_moves([registries.promote(reference, alias, expected=expected, is_forced=is_forced,
                                     evaluate=measure_by_runtime(settings, base))], as_json)


@click.command(epilog="Example: adapterhub rollback support/intents@production")
@click.argument("reference", metavar="NAMESPACE/NAME@ALIAS")
@click.option("--steps", default=1, show_default=True)
@registry_option
@json_option
@guarded
def rollback(reference: str, steps: int, place: str | None, as_json: bool) -> None:
    """Point an alias to what it pointed to before."""
    from adapterhub.cli.places import open_places

    registries, _ = open_places(place)
    _print_moves([registries.rollback(reference, steps=steps)], as_json)


@click.command(epilog="Example: adapterhub history support/intents@production")
@click.argument("reference", metavar="NAMESPACE/NAME@ALIAS")
@registry_option
@json_option
@guarded
def history(reference: str, place: str | None, as_json: bool) -> None:
    """Show every move of an alias."""
    from adapterhub.cli.places import open_places

    registries, _ = open_places(place)
    _print_moves(registries.history(reference), as_json)


def print_listings(listings: "Sequence[Listing]", where: str, as_json: bool) -> None:
    """Print adapters as a table, or as one list of JSON."""
    if as_json:
        print_json([_listing_facts(listing) for listing in listings])
        return
    header = ("reference", "task", "labels", "rank", "bytes", "metric", "base", "aliases")
    print_table(f"{len(listings)} adapter{'s' * (len(listings) != 1)} in {where}", header,
                [_listing_line(listing) for listing in listings])


def _listing_facts(listing: "Listing") -> dict[str, Any]:
    manifest, metric = listing.manifest, listing.main_metric
    return {"reference": listing.version.reference, "digest": listing.version.digest, "registry": listing.version.place,
            "task": manifest.task, "labels": manifest.labels, "method": manifest.method.name,
            "rank": manifest.method.rank, "bytes": listing.version.size_bytes, "base": manifest.base.id,
            "base_fingerprint": manifest.base.fingerprint, "aliases": listing.aliases,
            "metric": {"name": metric.name, "split": metric.split, "value": metric.value} if metric else None}


def _listing_line(listing: "Listing") -> list[object]:
    manifest, metric = listing.manifest, listing.main_metric
    return [listing.version.reference, manifest.task, len(manifest.labels), manifest.method.rank,
            f"{listing.version.size_bytes:,}", f"{metric.name} {metric.value:.3f}" if metric else "",
            f"{manifest.base.id} {manifest.base.fingerprint[:12]}",
            ", ".join(f"{alias}={version}" for alias, version in sorted(listing.aliases.items()))]


def _print_moves(moves: "Sequence[AliasMove]", as_json: bool) -> None:
    lines = [{"number": move.number, "alias": f"{move.path}@{move.alias}", "version": move.version,
              "digest": move.digest, "action": move.action, "at": move.at, "by": move.by, "is_forced": move.is_forced,
              "figures": move.figures} for move in moves]
    if as_json:
        print_json(lines)
    else:
        for line, move in zip(lines, moves, strict=True):
            click.echo(f"{line['at']}  {line['action']:<8}  {line['alias']} -> version {line['version']} "
                       f"(sha256:{str(line['digest'])[:12]}){_move_notes(move)}")


def _move_notes(move: "AliasMove") -> str:
    figures = ", ".join(f"{name} {value:.4f}" for name, value in sorted(move.figures.items()))
    return "".join([f"  by {move.by}" if move.by else "", "  forced" if move.is_forced else "",
                    f"  {figures}" if figures else ""])
