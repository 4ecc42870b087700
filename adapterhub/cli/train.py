"""`train` and `evaluate`."""

from pathlib import Path

import click

from adapterhub.cli.output import fail, guarded, json_option, print_json, print_table, registry_option


@click.command(epilog="Example: adapterhub train --task text-classification --data rows.csv --output folder")
@click.option("--task", required=True, help="text-classification, token-classification or sentence-similarity.")
@click.option("--data", required=True, help="A csv, tsv, json, jsonl (.gz) or parquet file, a folder with train, "
              "validation and test, or a Hugging Face data set.")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The adapter folder to write.")
@click.option("--base", default="embedded", show_default=True, help="embedded, a folder, or a Hub id.")
@click.option("--column", "columns", multiple=True, metavar="FIELD=COLUMN", help="A column with an uncommon name.")
@click.option("--method", default="lora", show_default=True, help="PEFT method.")
@click.option("--rank", default=8, show_default=True, help="LoRA rank.")
@click.option("--targets", default="all-linear", show_default=True, help="Layers, separated by commas.")
@click.option("--epochs", default=8, show_default=True)
@click.option("--batch-size", default=32, show_default=True, help="Rows per step.")
@click.option("--learning-rate", type=float, help="Default: the method's.")
@click.option("--max-length", default=128, show_default=True, help="Tokens after which a text is cut.")
@click.option("--metric", help="Validation metric that chooses the best epoch.")
@click.option("--patience", default=3, show_default=True, help="Epochs without a better one before stopping.")
@click.option("--seed", default=0, show_default=True)
@click.option("--continue-from", type=click.Path(path_type=Path), help="An adapter folder to train on from.")
@json_option
@guarded
def train(task: str, data: str, output: Path, base: str, columns: tuple[str, ...], method: str, rank: int,
          targets: str, epochs: int, batch_size: int, learning_rate: float | None, max_length: int,
          metric: str | None, patience: int, seed: int, continue_from: Path | None, as_json: bool) -> None:
    """Train one adapter and write its folder; the base stays as it is."""
    from adapterhub.settings import Settings
    from adapterhub.training.config import TrainConfig
    from adapterhub.training.run import run_training

    config = TrainConfig(
        task=task, data=data, output=output, base=base, columns=parse_columns(columns), method=method, rank=rank,
        targets=targets if targets == "all-linear" else tuple(targets.split(",")), epochs=epochs,
        batch_size=batch_size, learning_rate=learning_rate, max_length=max_length, metric=metric, patience=patience,
        seed=seed, continue_from=continue_from)
    result = run_training(config, Settings.from_environment())
    outcome = result.outcome
    facts = {"folder": str(result.folder), "metrics": result.evaluation.metrics, "best_epoch": outcome.best_epoch,
             "epochs": outcome.epochs_done, "trained_parameters": result.n_trained, "is_interrupted":
             outcome.is_interrupted, "truncated_rows": result.n_truncated, "seconds": round(outcome.seconds, 1)}
    if as_json:
        print_json(facts)
    else:
        print_evaluation(result.evaluation)
        click.echo(f"{result.n_trained:,} parameters trained in {outcome.seconds:.0f} s, best epoch "
                   f"{outcome.best_epoch} of {outcome.epochs_done}; "
                   f"{result.n_truncated} rows cut at {max_length} tokens.")
        click.echo(f"Wrote {result.folder}. Next: adapterhub publish {result.folder} namespace/name")
    if outcome.is_interrupted:
        fail(f"Training was stopped; the best epoch so far ({outcome.best_epoch}) is kept in {result.folder}.")


@click.command(epilog="Example: adapterhub evaluate support/intents@production --data rows.csv")
@click.argument("adapter")
@click.option("--data", required=True, help="Rows with the right answers: a file, or a folder's test part.")
@click.option("--column", "columns", multiple=True, metavar="FIELD=COLUMN", help="A column with an uncommon name.")
@click.option("--base", default="embedded", show_default=True)
@registry_option
@json_option
@guarded
def evaluate(adapter: str, data: str, columns: tuple[str, ...], base: str, place: str | None, as_json: bool) -> None:
    """Measure an adapter (a reference or a folder) on rows."""
    from adapterhub.cli.places import adapter_folder, open_places
    from adapterhub.runtime.measure import evaluate_adapter

    registries, settings = open_places(place)
    evaluation = evaluate_adapter(adapter_folder(adapter, registries), data, base=base, settings=settings,
                                  columns=parse_columns(columns))
    if as_json:
        print_json({"adapter": adapter, "metrics": evaluation.metrics, "n_rows": evaluation.n_rows})
    else:
        print_evaluation(evaluation)


def parse_columns(given: tuple[str, ...]) -> dict[str, str]:
    """Parse FIELD=COLUMN options. Raises click.BadParameter."""
    if bad := [text for text in given if "=" not in text]:
        raise click.BadParameter(f"--column {bad[0]!r} is not FIELD=COLUMN, for instance text=body.")
    return dict(text.split("=", 1) for text in given)


def print_evaluation(evaluation: object) -> None:
    """Print an Evaluation's metrics and its per-class tables."""
    from adapterhub.tasks.task import Evaluation

    assert isinstance(evaluation, Evaluation)
    for title, report in evaluation.reports.items():
        print_table(f"Test rows, {title}", ("label", "precision", "recall", "F1", "rows"),
                    [(line.label, f"{line.precision:.3f}", f"{line.recall:.3f}", f"{line.f1:.3f}", line.support)
                     for line in report])
    print_table(f"Measured on {evaluation.n_rows} rows", ("metric", "value"),
                [(name, f"{value:.4f}") for name, value in evaluation.metrics.items()])
