"""`diff`: two adapters side by side, as tables or as JSON."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from adapterhub.cli.output import guarded, json_option, print_json, print_table, registry_option

if TYPE_CHECKING:
    from adapterhub.combining.diff import Difference, LayerDifference


@click.command(epilog="Example: adapterhub diff support/intents@1 support/intents@2")
@click.argument("first")
@click.argument("second")
@click.option("--layers", default=12, show_default=True, help="Layers in the table, those that differ most first; "
              "0 for all. JSON always has all.")
@registry_option
@json_option
@guarded
def diff(first: str, second: str, layers: int, place: str | None, as_json: bool) -> None:
    """Compare two adapters (references or folders): settings, labels, metrics, heads, and each layer's change.

    Each is namespace/name, or ./folder for one that is not published.
    """
    from adapterhub.cli.places import adapter_folder, open_places
    from adapterhub.combining.diff import diff as compare

    registries, _ = open_places(place)
    found = compare(adapter_folder(first, registries), adapter_folder(second, registries))
    if as_json:
        print_json({"first": first, "second": second, **asdict(found)})
        return
    _print_facts(found, first, second)
    _print_layers(found, layers)
    for reason in found.not_compared:
        click.echo(f"Not compared: {reason}.")


def _print_facts(found: "Difference", first: str, second: str) -> None:
    print_table("Settings that differ" if found.settings else "No setting differs", ("setting", first, second),
                [(setting.name, _value(setting.first), _value(setting.second)) for setting in found.settings])
    click.echo(f"{found.n_shared_labels} labels in both{_labels(f'only {first}', found.only_first_labels)}"
               f"{_labels(f'only {second}', found.only_second_labels)}.")
    print_table("Metrics" if found.figures else "No metric of either was measured", ("metric", "split", first, second),
                [(figure.name, figure.split, _figure(figure.first), _figure(figure.second))
                 for figure in found.figures])
    print_table("Heads" if found.heads else "Neither has a head", ("parameter", first, second, "largest difference"),
                [(head.name, _shape(head.first_shape), _shape(head.second_shape),
                  "shapes differ" if head.largest is None else f"{head.largest:.3e}") for head in found.heads])


def _print_layers(found: "Difference", n_shown: int) -> None:
    if found.whole is None:
        return
    shown = found.layers[:n_shown or None]
    title = f"Change of each layer, Frobenius norms ({len(shown)} of {len(found.layers)})"
    print_table(title, ("layer", "first", "second", "difference", "cosine"),
                [_line(line) for line in (found.whole, *shown)])


def _line(line: "LayerDifference") -> tuple[str, ...]:
    return (line.layer, f"{line.first_norm:.4f}", f"{line.second_norm:.4f}", f"{line.difference_norm:.4f}",
            "" if line.cosine is None else f"{line.cosine:+.4f}")


def _labels(title: str, labels: tuple[str, ...]) -> str:
    if not labels:
        return ""
    return f"; {title}: {', '.join(labels[:8])}{f' and {len(labels) - 8} more' if len(labels) > 8 else ''}"


def _value(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _shape(shape: tuple[int, ...] | None) -> str:
    return "" if shape is None else str(list(shape))
