"""`train` and `evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapterhub.cli.output import base_option, fail, guarded, json_option, print_json, print_table, registry_option
from adapterhub.errors import InvalidConfig
from adapterhub.progress import waiting
from adapterhub.settings import Settings

if TYPE_CHECKING:
    from adapterhub.tasks.task import Evaluation
    from adapterhub.training.run import TrainResult


@click.command(epilog="Example: adapterhub train --task text-classification --data rows.csv --output folder")
@click.option("--task", required=True, help="text-classification, multi-label-classification, "
              "text-regression, token-classification, question-answering or sentence-similarity.")
@click.option("--data", required=True, help="A csv, tsv, json, jsonl (.gz) or parquet file, a folder with train, "
              "validation and test, or a Hugging Face data set.")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The adapter folder to write.")
@base_option
@click.option("--column", "columns", multiple=True, metavar="FIELD=COLUMN", help="A column with an uncommon name.")
@click.option("--method", default="lora", show_default=True, help="PEFT method.")
@click.option("--rank", default=8, show_default=True, help="LoRA rank.")
@click.option("--alpha", type=float, help="LoRA alpha.  [default: twice the rank]")
@click.option("--targets", default="all-linear", show_default=True, help="Layers, separated by commas.")
@click.option("--epochs", type=int, help="Passes over the training rows.  [default: 8, with few rows more]")
@click.option("--batch-size", type=int, help="Rows per step.  [default: 32, with few rows 16]")
@click.option("--learning-rate", type=float, help="[default: the method's]")
@click.option("--max-length", type=int, help="Tokens after which a text is cut.  [default: the task's]")
@click.option("--metric", help="Validation metric that chooses the best epoch.  [default: the task's first]")
@click.option("--patience", default=3, show_default=True, help="Epochs without a better one before stopping.")
@click.option("--seed", default=0, show_default=True)
@click.option("--continue-from", type=click.Path(path_type=Path), help="An adapter folder to train on from.")
@click.option("--licence", default="", help="Of the data, for the card.")
@click.option("--source", default="", help="Of the data, for the card.")
@json_option
@guarded
def train(task: str, data: str, output: Path, base: str, columns: tuple[str, ...], method: str, rank: int,
          alpha: float | None, targets: str, epochs: int | None, batch_size: int | None, learning_rate: float | None,
          max_length: int | None, metric: str | None, patience: int, seed: int, continue_from: Path | None,
          licence: str, source: str, as_json: bool) -> None:
    """Train one adapter and write its folder; the base stays as it is.

    Ctrl-C ends the training; the best epoch so far is measured and written.
    """
    from adapterhub.training.config import TrainConfig

    if method == "full":
        raise InvalidConfig("Method 'full' fine-tunes a whole model, which is no adapter.",
                            hint="Give --method lora; `adapterhub demo` measures the two side by side.")
    config = TrainConfig(
        task=task, data=data, output=output, base=base, columns=parse_columns(columns), method=method, rank=rank,
        alpha=alpha, targets=targets, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate,
        max_length=max_length, metric=metric, patience=patience, seed=seed, continue_from=continue_from,
        licence=licence, source=source)
    with waiting("loading torch, transformers and peft"):
        from adapterhub.training.run import run_training
    result = run_training(config, Settings.from_environment())
    if as_json:
        print_json(_facts(result))
    else:
        _print_result(result)
    if result.outcome.is_interrupted:
        fail(f"Training was stopped; the best epoch so far ({result.outcome.best_epoch}) is kept in {output}.")


@click.command(epilog="Example: adapterhub evaluate support/intents@production --data rows.csv")
@click.argument("adapter")
@click.option("--data", required=True, help="Rows with the right answers: a file, or a folder's test part.")
@click.option("--column", "columns", multiple=True, metavar="FIELD=COLUMN", help="A column with an uncommon name.")
@base_option
@registry_option
@json_option
@guarded
def evaluate(adapter: str, data: str, columns: tuple[str, ...], base: str, place: str | None, as_json: bool) -> None:
    """Measure an adapter (a reference or a folder) on rows."""
    from adapterhub.cli.places import adapter_folder, open_places

    registries, settings = open_places(place)
    folder, given = adapter_folder(adapter, registries), parse_columns(columns)
    with waiting("loading torch and the base, answering"):
        from adapterhub.runtime.measure import evaluate_adapter

        evaluation = evaluate_adapter(folder, data, base=base, settings=settings, columns=given)
    if as_json:
        print_json({"adapter": adapter, "metrics": evaluation.metrics, "n_rows": evaluation.n_rows})
    else:
        print_evaluation(evaluation)


def parse_columns(given: tuple[str, ...]) -> dict[str, str]:
    """Parse FIELD=COLUMN options. Raises InvalidConfig."""
    if bad := [text for text in given if "=" not in text]:
        raise InvalidConfig(f"--column {bad[0]!r} is not FIELD=COLUMN.", hint="Write for instance --column text=body.")
    return dict(text.split("=", 1) for text in given)


def print_evaluation(evaluation: "Evaluation") -> None:
    """Print metrics and per-class tables."""
    for title, report in evaluation.reports.items():
        print_table(f"Test rows, {title}", ("label", "precision", "recall", "F1", "rows"),
                    [(line.label, f"{line.precision:.3f}", f"{line.recall:.3f}", f"{line.f1:.3f}", line.support)
                     for line in report])
    print_table(f"Measured on {evaluation.n_rows} rows", ("metric", "value"),
                [(name, f"{value:.4f}") for name, value in evaluation.metrics.items()])


def _facts(result: "TrainResult") -> dict[str, Any]:
    outcome = result.outcome
    return {"folder": str(result.folder), "metrics": result.evaluation.metrics, "test_rows": result.evaluation.n_rows,
            "best_epoch": outcome.best_epoch, "epochs": outcome.epochs_done, "steps": outcome.n_steps,
            "trained_parameters": result.n_trained, "is_interrupted": outcome.is_interrupted,
            "truncated_rows": result.n_truncated, "seconds": round(outcome.seconds, 1)}


def _print_result(result: "TrainResult") -> None:
    outcome = result.outcome
    if result.evaluation.n_rows:
        print_evaluation(result.evaluation)
    click.echo(f"{result.n_trained:,} parameters trained in {outcome.seconds:.0f} s, best epoch {outcome.best_epoch} "
               f"of {outcome.epochs_done}; {result.n_truncated} rows cut at {result.max_length} tokens.")
    click.echo(f"Wrote {result.folder}. Next: adapterhub publish {result.folder} namespace/name")
