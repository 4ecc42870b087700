"""`search`, `fits` and `breaks`: adapters by words and filters, for a server's room, and when their base moves."""

from datetime import UTC, datetime, timedelta

import click

from adapterhub.cli.output import guarded, json_option, print_json, print_table, registry_option


@click.command(epilog="Example: adapterhub search bank --task text-classification --metric accuracy=0.9 --sort newest")
@click.argument("text", default="")
@click.option("--task", help="Only this task.")
@click.option("--base", help="A base's id, or the beginning of its fingerprint.")
@click.option("--label", "labels", multiple=True, help="Only adapters with this label; give it again for several.")
@click.option("--method", help="Only this PEFT method, for instance lora.")
@click.option("--max-rank", type=int, help="The highest rank.")
@click.option("--max-bytes", type=int, help="The largest size of the four files together.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME=LEAST", help="A metric and the least it may be.")
@click.option("--alias", help="Only adapters that have this alias.")
@click.option("--not-revision", metavar="BASE=REVISION", help="Adapters of a base that were trained on another "
              "revision: what breaks if the base moves to this one.")
@click.option("--idle-days", type=click.FloatRange(0, 36_500), help="Neither published nor promoted for so many days; "
              "whether one was asked for is not recorded.")
@click.option("--sort", default="name", show_default=True, help="name, newest, size or rank.")
@click.option("--limit", default=1000, show_default=True, help="Adapters on one page.")
@click.option("--page", default=1, show_default=True, help="Which page.")
@registry_option
@json_option
@guarded
def search(text: str, task: str | None, base: str | None, labels: tuple[str, ...], method: str | None,
           max_rank: int | None, max_bytes: int | None, metrics: tuple[str, ...], alias: str | None,
           not_revision: str | None, idle_days: float | None, sort: str, limit: int, page: int, place: str | None,
           as_json: bool) -> None:
    """Find adapters by words in their name, task, labels, data or card, and by what they are."""
    from adapterhub.cli.places import open_places
    from adapterhub.cli.registry import print_listings
    from adapterhub.registry.find import Filters
    from adapterhub.registry.records import utc
    from adapterhub.registry.search_all import search_all

    since = utc(datetime.now(UTC) - timedelta(days=idle_days)) if idle_days is not None else None
    filters = Filters(text=text, task=task, base=base, labels=labels, method=method, max_rank=max_rank,
                      max_size_bytes=max_bytes, min_metrics=tuple(map(_metric, metrics)), alias=alias,
                      not_base_revision=_pair(not_revision, "--not-revision") if not_revision else None,
                      not_promoted_since=since, sort=sort, limit=limit, offset=(page - 1) * limit)
    registries, settings = open_places(place)
    found = search_all(registries, filters, settings.cache)
    print_listings(found.listings, registries.where, as_json)
    if found.total > len(found.listings) and not as_json:
        click.echo(f"{found.total} in all; this is page {page}.")


@click.command(epilog="Example: adapterhub fits --slots 64 --max-rank 16 --bytes 500000000 --base embedded")
@click.option("--slots", required=True, type=int, help="How many adapters the server holds at once.")
@click.option("--max-rank", required=True, type=int, help="The highest rank that a slot holds.")
@click.option("--bytes", "size_bytes", required=True, type=int, help="The bytes that all of them may have together.")
@click.option("--base", help="A base's id, or the beginning of its fingerprint.")
@registry_option
@json_option
@guarded
def fits(slots: int, max_rank: int, size_bytes: int, base: str | None, place: str | None, as_json: bool) -> None:
    """List the adapters, smallest first, that together fit a server's slots, rank and bytes."""
    from adapterhub.cli.places import open_places
    from adapterhub.cli.registry import print_listings
    from adapterhub.registry.find import Filters, Room
    from adapterhub.registry.search_all import fitting_all

    registries, settings = open_places(place)
    room = Room(n_slots=slots, max_rank=max_rank, size_bytes=size_bytes)
    found = fitting_all(registries, room, Filters(base=base), settings.cache)
    print_listings(found.listings, registries.own.where, as_json)


@click.command(epilog="Example: adapterhub breaks org/encoder --new-base org/encoder --revision 4f2a9c1")
@click.argument("base_id", metavar="BASE")
@click.option("--new-base", required=True, help="What it moves to: embedded, a local folder, or a Hub id.")
@click.option("--revision", help="The new base's revision on the Hub.")
@registry_option
@json_option
@guarded
def breaks(base_id: str, new_base: str, revision: str | None, place: str | None, as_json: bool) -> None:
    """Tell of every adapter of a base whether it goes on, only fits, or breaks when the base moves."""
    from adapterhub.bases.load import load_base  # heavy: kept out of --help
    from adapterhub.cli.places import open_places
    from adapterhub.registry.fleet import outlooks

    registries, settings = open_places(place)
    shapes = load_base(new_base, cache=settings.cache, revision=revision).shapes
    found = list(outlooks(registries.own, base_id, shapes))
    lines = [{"reference": one.version.reference, "breaks": one.breaks, "why": one.why} for one in found]
    if as_json:
        print_json(lines)
        return
    n_broken = sum(one.breaks for one in found)
    print_table(f"{n_broken} of {len(found)} adapter{'s' * (len(found) != 1)} of {base_id} would break",
                ("reference", "outlook"), [[one.version.reference, one.why] for one in found])


def _metric(text: str) -> tuple[str, float]:
    name, least = _pair(text, "--metric")
    try:
        return name, float(least)
    except ValueError as error:
        raise click.BadParameter(f"--metric {text!r} needs a number, for instance accuracy=0.9.") from error


def _pair(text: str, option: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not (name and separator and value):
        raise click.BadParameter(f"{option} {text!r} is not NAME=VALUE.")
    return name, value
