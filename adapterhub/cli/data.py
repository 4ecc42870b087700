"""`data`: what a source of rows holds, before anything is trained on it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapterhub.cli.output import guarded, json_option, print_json, print_table
from adapterhub.cli.run_settings import config_option, given_settings, rows_settings, setting
from adapterhub.progress import waiting
from adapterhub.settings import Settings

if TYPE_CHECKING:
    from adapterhub.data.report import DataReport, PartReport

_SHOWN_LABELS = 200


@click.group()
def data() -> None:
    """Look at rows before they are learned."""


@data.command(epilog="Example: adapterhub data check rows.csv --task text-classification")
@click.argument("source", metavar="DATA")
@config_option
@setting("--task", "The task that they are for, as in `train`.")
@setting("--base", "The base whose tokens are counted: embedded, a folder, or a Hub id.  [default: embedded]")
@rows_settings
@setting("--max-length", "Tokens after which a text is cut.  [default: the task's]", kind=int)
@setting("--seed", "Of the split, as in `train`.  [default: 0]", kind=int)
@json_option
@guarded
def check(source: str, config_file: Path | None, as_json: bool) -> None:
    """Count rows by part and label; tell doubles, contradictions, lengths, and what would be cut.

    DATA is a file, a folder with train, validation and test, or a Hugging Face data set. Nothing is written but the
    encoded rows in the cache, which a training takes from there.
    """
    from adapterhub.training.config_file import parse_config

    config = parse_config({**given_settings(config_file), "data": source, "output": ""})
    with waiting("loading torch and transformers"):
        from adapterhub.training.prepare import check_rows
    report, max_length = check_rows(config, Settings.from_environment())
    if as_json:
        print_json({**report.to_dict(), "max_length": max_length})
        return
    _print_labels(report)
    print_rows(report, max_length)


def print_rows(report: "DataReport", max_length: int) -> None:
    """Print a source's parts with their lengths, and a sentence for all that was found in them."""
    parts = [part for part in report.parts if part.n_rows]
    shares = list(parts[0].lengths.quantiles) if parts and parts[0].lengths else []
    print_table(f"Rows of {report.name}", ("part", "rows", "labels", *(f"tokens {share}" for share in shares), "cut"),
                [_line(part, shares) for part in parts])
    for sentence in _sentences(report, max_length):
        click.echo(sentence)
    if report.near and report.near.examples:
        print_table("Texts that are nearly the same", ("text", "like"), list(report.near.examples))
    if report.conflicts:
        print_table("Texts with several answers", ("text", "answers"),
                    [(conflict.text, " | ".join(conflict.answers)) for conflict in report.conflicts])


def _line(part: "PartReport", shares: list[str]) -> tuple[Any, ...]:
    if part.lengths is None:
        return (part.name, f"{part.n_rows:,}", len(part.labels) or "none", *("" for _ in shares), "")
    return (part.name, f"{part.n_rows:,}", len(part.labels) or "none",
            *(part.lengths.quantiles.get(share, "") for share in shares), f"{part.lengths.n_cut:,}")


def _sentences(report: "DataReport", max_length: int) -> list[str]:
    told = []
    for part in report.parts:
        if part.lengths and part.lengths.n_cut:
            lost = part.lengths.n_tokens_cut / part.lengths.n_tokens
            told.append(f"Of {part.name}, {_count(part.lengths.n_cut, 'row')} cut at {max_length} tokens: {lost:.1%} "
                        "of all its tokens are lost (--max-length).")
    doubles = _doubles(report.n_repeated, report.n_shared)
    if report.near:
        doubles += _doubles(report.near.n_repeated, report.near.n_shared, nearly="nearly ")
    if doubles:
        done = (f"{_count(report.n_removed, 'row')} left out" if report.n_removed
                else "all are kept, --remove-duplicates leaves them out")
        told.append(f"{'; '.join(doubles)}; {done}.")
    if report.n_conflicts:
        told.append(f"{_count(report.n_conflicts, 'text')} there with answers that exclude each other.")
    return told


def _doubles(n_repeated: int, n_shared: Mapping[str, int], nearly: str = "") -> list[str]:
    told = [f"{_count(n_repeated, 'row')} {nearly}like an earlier one"] if n_repeated else []
    later = {"train": "validation or test", "validation": "test"}
    return told + [f"{_count(count, f'{part} row')} {nearly}in {later[part]} too"
                   for part, count in n_shared.items() if count]


def _count(n: int, noun: str) -> str:
    return f"1 {noun} is" if n == 1 else f"{n:,} {noun}s are"


def _print_labels(report: "DataReport") -> None:
    labels = sorted({label for part in report.parts for label in part.labels})
    if labels:
        parts = [part for part in report.parts if part.n_rows]
        more = f", the first {_SHOWN_LABELS}" if len(labels) > _SHOWN_LABELS else ""
        print_table(f"{len(labels)} labels{more}", ("label", *(part.name for part in parts)),
                    [(label, *(f"{part.labels.get(label, 0):,}" for part in parts))
                     for label in labels[:_SHOWN_LABELS]])
