"""Commands on gates: what a version must show before an alias may point to it."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapterhub.cli.output import guarded, json_option, print_json, print_table, registry_option

if TYPE_CHECKING:
    from adapterhub.registry.records import GateRecord


@click.group(epilog="Example: adapterhub gate show support/intents")
def gate() -> None:
    """Set, show or remove what a version must show before an alias may point to it."""


@gate.command("set", epilog="Example: adapterhub gate set support/intents --alias production --metric macro_f1 "
              "--min 0.9 --max-drop 0.01 --data eval.jsonl")
@click.argument("name", metavar="NAMESPACE/NAME")
@click.option("--alias", required=True, help="The alias that the gate stands before.")
@click.option("--metric", required=True, help="A metric of the adapter's task.")
@click.option("--min", "minimum", type=float, help="The least that a version may have.")
@click.option("--max", "maximum", type=float, help="The most that it may have, of an error such as ece or rmse.")
@click.option("--max-drop", type=float, help="How much worse than the version that holds the alias it may be.")
@click.option("--data", required=True, type=click.Path(path_type=Path),
              help="Rows with the right answers; they are kept in the registry by their digest.")
@registry_option
@json_option
@guarded
def set_gate(name: str, alias: str, metric: str, minimum: float | None, maximum: float | None,
             max_drop: float | None, data: Path, place: str | None, as_json: bool) -> None:
    """Put a gate before an alias."""
    from adapterhub.cli.places import open_places
    from adapterhub.registry import Limits

    registries, _ = open_places(place)
    limits = Limits(metric=metric, minimum=minimum, maximum=maximum, max_drop=max_drop)
    record = registries.own.set_gate(name, alias, limits, data)
    if as_json:
        print_json(_facts(alias, record))
    else:
        click.echo(f"{name}@{alias} has a gate on {metric}, measured on the rows {record.rows[:12]}.")


@gate.command("remove", epilog="Example: adapterhub gate remove support/intents --alias production")
@click.argument("name", metavar="NAMESPACE/NAME")
@click.option("--alias", required=True, help="The alias that the gate stands before.")
@registry_option
@json_option
@guarded
def remove_gate(name: str, alias: str, place: str | None, as_json: bool) -> None:
    """Take the gate before an alias away; its history stays."""
    from adapterhub.cli.places import open_places

    registries, _ = open_places(place)
    record = registries.own.open_gate(name, alias)
    if as_json:
        print_json(_facts(alias, record))
    else:
        click.echo(f"{name}@{alias} has no gate any more.")


@gate.command("show", epilog="Example: adapterhub gate show support/intents --json")
@click.argument("name", metavar="NAMESPACE/NAME")
@registry_option
@json_option
@guarded
def show_gates(name: str, place: str | None, as_json: bool) -> None:
    """Show the gates of an adapter."""
    from adapterhub.cli.places import open_places

    registries, _ = open_places(place)
    lines = [_facts(alias, record) for alias, record in sorted(registries.own.gates(name).items())]
    if as_json:
        print_json(lines)
    else:
        header = ("alias", "metric", "min", "max", "max_drop", "rows", "at", "by")
        print_table(f"Gates of {name}", header, [[line[column] for column in header] for line in lines])


def _facts(alias: str, record: "GateRecord") -> dict[str, object]:
    return {"alias": alias, "metric": record.metric, "min": record.minimum, "max": record.maximum,
            "max_drop": record.max_drop, "rows": record.rows, "at": record.at, "by": record.by,
            "is_removed": record.is_open}
