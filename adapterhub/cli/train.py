"""`train`: one adapter from rows to its folder."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapterhub.cli.data import print_rows
from adapterhub.cli.estimate import estimate_of, print_estimate
from adapterhub.cli.output import guarded, json_option, print_json, print_table
from adapterhub.cli.report import print_sections, train_page
from adapterhub.cli.run_settings import (
    config_option,
    given_settings,
    pairs_setting,
    parse_class_weights,
    parse_method_options,
    rows_settings,
    setting,
    several_setting,
    shared_settings,
)
from adapterhub.errors import InvalidConfig
from adapterhub.progress import waiting
from adapterhub.settings import Settings

if TYPE_CHECKING:
    from adapterhub.training.run import TrainResult


@click.command(epilog="Example: adapterhub train --task text-classification --data rows.csv --output folder")
@config_option
@shared_settings("--task", "--data", "--output", "--base")
@rows_settings
@pairs_setting("--class-weights", "class_weights", "How much labels count in the loss: `balanced`, or LABEL=WEIGHT, "
               "once for each.", metavar="WEIGHTS", parse=parse_class_weights)
@setting("--oversample", "Draw training rows of rarer labels again until all stand as often.", kind=bool)
@shared_settings("--method")
@setting("--preset", "lean: upper layers alone, the lower ones run once; a fraction of the memory and time.")
@setting("--upper-layers", "Adapt only this many of the uppermost layers.  [default: all]", kind=int)
@setting("--remember-lower", "Run the layers below the lowest trained one once, and keep what they give.", kind=bool)
@setting("--rank", "[default: the method's; 8 for LoRA]", kind=int)
@setting("--alpha", "Scale of LoRA's change.  [default: twice the rank]", kind=float)
@shared_settings("--targets")
@pairs_setting("--method-option", "method_options", "A field of the method's configuration in PEFT, by PEFT's name.",
               metavar="NAME=VALUE", parse=parse_method_options)
@shared_settings("--epochs")
@setting("--batch-size", "Rows per step.  [default: 32, with few rows 16]", kind=int)
@setting("--learning-rate", "[default: the method's]", kind=float)
@setting("--head-learning-rate", "[default: the task's, else --learning-rate]", kind=float)
@shared_settings("--max-length")
@setting("--pack", "Put several short texts into one sequence (text-generation).", kind=bool)
@setting("--learn-prompts", "Learn prompts as well as completions (text-generation).", kind=bool)
@setting("--n-written", "Test rows whose answers are written and measured, of tasks that write.  [default: 100]",
         kind=int)
@shared_settings("--metric", "--patience")
@setting("--dropout", "In front of each A.  [default: 0]", kind=float)
@setting("--weight-decay", "[default: 0.01]", kind=float)
@setting("--warmup", "Share of the steps over which the rate rises.  [default: 0.06]", kind=float)
@setting("--schedule", "linear, cosine, constant, polynomial or inverse_sqrt.  [default: linear]")
@setting("--accumulation", "Passes that a step's rows are split into, for less memory.  [default: 1]", kind=int)
@setting("--gradient-checkpointing", "Compute activations again instead of keeping them.", kind=bool)
@setting("--precision", "auto, bfloat16 or float32.  [default: auto]")
@setting("--dtype", "Of the stored tensors: auto, float16 or float32.  [default: auto]")
@several_setting("--tracker", "trackers", "Beside or instead of jsonl: tensorboard, wandb, mlflow, trackio, ...")
@setting("--checkpoint-seconds", "Least time between checkpoints; 0: after each step.  [default: 60]", kind=float)
@shared_settings("--seed")
@setting("--continue-from", "An adapter folder to train on from.")
@shared_settings("--licence", "--source")
@click.option("--resume", "start", flag_value="resume", help="Go on with the stopped run of this --output.")
@click.option("--finish", "start", flag_value="finish", help="Take that run's best epoch as it is.")
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True,
              help="Processes of this machine that share each step; `accelerate launch` does the same for several.")
@click.option("--report", type=click.Path(path_type=Path), metavar="FILE",
              help="The page about the run, .html or .md.  [default: beside the folder]")
@click.option("--no-report", is_flag=True, help="Write no page; one holds test rows that were answered wrong.")
@click.option("--dry-run", is_flag=True, help="Read the rows, say what the run will take, and train nothing.")
@click.option("--estimate", "is_estimated", is_flag=True,
              help="Say what the run will take, train, and say how far off that was; measures speed for 20 s first.")
@json_option
@guarded
def train(config_file: Path | None, start: str | None, processes: int, report: Path | None, no_report: bool,
          dry_run: bool, is_estimated: bool, as_json: bool) -> None:
    """Train one adapter and write its folder; the base stays as it is.

    Ctrl-C and SIGTERM stop the training after its step and keep a checkpoint; --resume goes on from there, with the
    settings that the run had.
    """
    from adapterhub.training.config_file import parse_config

    given = given_settings(config_file)
    if start and "output" in given:
        with waiting("loading torch, transformers and peft"):
            from adapterhub.training.run_folder import RunFolder
        given = {**RunFolder(Path(given["output"])).read().config, **given}
    config = parse_config(given)
    if config.method == "full":
        raise InvalidConfig("Method 'full' fine-tunes a whole model, which is no adapter.",
                            hint="Give --method lora; `adapterhub demo` measures the two side by side.")
    foretold = estimate_of(config) if dry_run or is_estimated else None
    if foretold and (dry_run or not as_json):
        print_estimate(config, foretold, as_json=as_json)
    if dry_run:
        return
    report = None if no_report else train_page(config.output, report)
    with waiting("loading torch, transformers and peft"):
        from adapterhub.cli.train_report import write_train_report
        from adapterhub.costs.foretold import PeakMemory, hold_to
        from adapterhub.making import make_adapter
        from adapterhub.training.ranks import process_state
        from adapterhub.training.run_folder import START
    memory = PeakMemory()
    result = make_adapter(config, Settings.from_environment(), start=START[start], n_processes=processes,
                          watchers=[memory] if foretold else [], tell=None if as_json else print_rows)
    if not process_state().is_main_process:
        return
    if report is not None:
        write_train_report(report, result)
    held = hold_to(foretold, result, memory.bytes) if foretold else []
    if as_json:
        print_json(_facts(result) | {"estimate": [asdict(line) for line in held]})
        return
    _print_result(result, report)
    if held:
        print_table("The estimate", ("what", "estimated", "measured", "off by"), [line.line() for line in held])


def _facts(result: "TrainResult") -> dict[str, Any]:
    outcome = result.outcome
    return {"folder": str(result.folder), "metrics": result.findings.metrics,
            "intervals": {name: list(interval) for name, interval in result.findings.intervals.items()},
            "test_rows": result.evaluation.n_rows, "best_epoch": outcome.best_epoch,
            "epochs": outcome.epochs_done, "steps": outcome.n_steps,
            "trained_parameters": result.n_trained, "passes_per_step": outcome.n_pieces,
            "broken_checkpoints": outcome.broken_checkpoints, "truncated_rows": result.n_truncated,
            "data": {**result.report.to_dict(), "max_length": result.max_length},
            "seconds": round(outcome.seconds, 1)}


def _print_result(result: "TrainResult", report: Path | None) -> None:
    from adapterhub.reporting.sections import sections_of

    outcome = result.outcome
    if result.evaluation.n_rows:
        print_sections(sections_of(result.findings, has_pictures=False))
    click.echo(f"{result.n_trained:,} parameters trained in {outcome.seconds:.0f} s, best epoch {outcome.best_epoch} "
               f"of {outcome.epochs_done}; {result.n_truncated} rows cut at {result.max_length} tokens.")
    if report is not None:
        click.echo(f"Wrote {report}, the report.")
    click.echo(f"Wrote {result.folder}. Next: adapterhub publish {result.folder} namespace/name")
