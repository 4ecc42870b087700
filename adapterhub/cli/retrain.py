"""`retrain`: the next version of a published adapter, from the corrections of those who used it."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapterhub.cli.feedback import chosen_feedback, opened_store, period_options, place_option
from adapterhub.cli.output import guarded, json_option, print_json, print_table, registry_option
from adapterhub.cli.run_settings import column_option, parse_columns
from adapterhub.progress import waiting

if TYPE_CHECKING:
    from adapterhub.retraining.retrain import Retrained


@click.command(epilog="Example: adapterhub retrain support/intents --data rows.csv --alias production")
@click.argument("reference", metavar="NAMESPACE/NAME")
@click.option("--data", required=True, help="The rows that the published version was trained on: a file, a folder with "
              "train, validation and test, or a data set. They are divided as its run did.")
@click.option("--alias", default="production", show_default=True,
              help="What moves to the new version, through its gate.")
@column_option
@click.option("--epochs", type=int, help="Passes over the training rows.  [default: 8, with few rows more]")
@click.option("--learning-rate", type=float, help="[default: the method's]")
@click.option("--output", type=click.Path(path_type=Path), help="Keep the new folder here too, also where the gate "
              "refuses it.")
@click.option("--base", help="Where the base is.  [default: as the adapter names it]")
@period_options
@place_option
@registry_option
@json_option
@guarded
def retrain(reference: str, data: str, alias: str, columns: tuple[str, ...], epochs: int | None,
            learning_rate: float | None, output: Path | None, base: str | None, since: datetime | None,
            until: datetime | None, feedback_place: str | None, place: str | None, as_json: bool) -> None:
    """Train the next version from the published one, with the corrections of those who used it.

    Both versions are measured on held-out rows. The new one is published, and the alias moves to it, only if the
    alias's gate lets it.
    """
    from adapterhub.adapter.reference import Reference
    from adapterhub.cli.gate_measure import measure_by_runtime
    from adapterhub.cli.places import open_places
    from adapterhub.feedback.lessons import newest_lessons
    from adapterhub.feedback.reading import feedback_of

    registries, settings = open_places(place)
    chosen = chosen_feedback(Reference.parse(reference).path, None, since, until)
    with opened_store(feedback_place) as store, store.reading() as connection:
        lessons = list(newest_lessons(feedback_of(connection, chosen)))
    given = parse_columns(columns)
    with waiting("loading torch, transformers and peft"):
        from adapterhub.retraining.retrain import RetrainPlan
        from adapterhub.retraining.retrain import retrain as run

    plan = RetrainPlan(reference=reference, data=data, alias=alias, columns=given, epochs=epochs,
                       learning_rate=learning_rate, output=output, base=base)
    result = run(plan, lessons, registries.own, measure_by_runtime(settings, base), settings)
    if as_json:
        print_json(_facts(result, alias))
    else:
        _print(result, alias)


def _facts(result: "Retrained", alias: str) -> dict[str, Any]:
    from dataclasses import asdict

    return {"from": result.parent.reference, "version": result.version.reference, "digest": result.version.digest,
            "alias": alias, "corrections": {"learned": result.rows.n_learned, "replaced": result.rows.n_replaced,
                                            "held_out": len(result.rows.corrections),
                                            "left_out": asdict(result.rows.left_out)},
            "figures": {name: {"rows": own.n_rows, "published": dict(own.published), "candidate": dict(own.candidate)}
                        for name, own in result.comparisons.items()}}


def _print(result: "Retrained", alias: str) -> None:
    rows = result.rows
    for name, own in result.comparisons.items():
        print_table(f"On {own.n_rows} held-out {name}", ("metric", result.parent.reference, result.version.reference),
                    [(metric, f"{value:.4f}", f"{own.candidate[metric]:.4f}")
                     for metric, value in own.published.items()])
    left = rows.left_out
    click.echo(f"{rows.n_learned} corrections learned ({rows.n_replaced} rows changed), {len(rows.corrections)} held "
               f"out, {left.n_unreadable + left.n_strange_labels + left.n_in_test} left out.")
    click.echo(f"Published {result.version.reference}; {result.version.path}@{alias} points to it.")
