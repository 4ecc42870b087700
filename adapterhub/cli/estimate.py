"""`estimate`: what a run will need, said before the base is loaded."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapterhub.cli.output import guarded, json_option, print_json, print_table
from adapterhub.progress import waiting
from adapterhub.settings import Settings

if TYPE_CHECKING:
    from adapterhub.costs.estimate import Estimate
    from adapterhub.training.config import TrainConfig


@click.command(epilog="Example: adapterhub estimate --method lora --batch 32 --length 64")
@click.option("--base", default="embedded", show_default=True, help="embedded, a local folder, or a Hub id.")
@click.option("--task", default="text-classification", show_default=True, help="A task of `train`.")
@click.option("--method", default="lora", show_default=True, help="A PEFT method, or full.")
@click.option("--preset", default="", help="lean.")
@click.option("--rank", type=int, help="[default: the method's]")
@click.option("--targets", default="all-linear", show_default=True, help="Layers, separated by commas.")
@click.option("--batch", "batch_size", default=32, show_default=True, help="Rows per step.")
@click.option("--length", default=128, show_default=True, help="Tokens of each row.")
@click.option("--labels", "n_labels", default=2, show_default=True, help="Of the task.")
@click.option("--rows", "n_rows", type=int, help="Training rows: the whole run is estimated too.")
@click.option("--epochs", type=int, help="[default: as `train` chooses]")
@click.option("--gradient-checkpointing", is_flag=True, help="As `train` takes it.")
@click.option("--calibrate/--no-calibrate", "is_calibrated", default=True, show_default=True,
              help="Take 20 s to measure how fast this machine is; without it no time is told.")
@click.option("--price", "price_per_hour", type=float, help="Of this machine for an hour.")
@json_option
@guarded
def estimate(base: str, task: str, method: str, preset: str, rank: int | None, targets: str, batch_size: int,
             length: int, n_labels: int, n_rows: int | None, epochs: int | None, gradient_checkpointing: bool,
             is_calibrated: bool, price_per_hour: float | None, as_json: bool) -> None:
    """Say what training will take: memory, bytes on disk, time and money. No weight of the base is read."""
    from adapterhub.training.config import TrainConfig

    config = TrainConfig(task=task, data="rows", output=Path("folder"), base=base, method=method, preset=preset,
                         rank=rank, targets=targets, batch_size=batch_size, max_length=length, epochs=epochs,
                         gradient_checkpointing=gradient_checkpointing)
    with waiting("loading torch, transformers and peft"):
        from adapterhub.costs.ahead import estimate_ahead

    found = estimate_ahead(config, Settings.from_environment(), n_labels=n_labels, n_rows=n_rows,
                           is_calibrated=is_calibrated)
    if as_json:
        print_json(asdict(found))
        return
    print_table(f"{method} on {base}, {batch_size} rows of {length} tokens", ("what", "estimate"),
                found.lines(price_per_hour))


def estimate_of(config: "TrainConfig") -> "Estimate":
    """Return what a run will take, from its settings and rows."""
    with waiting("loading torch, transformers and peft"):
        from adapterhub.costs.ahead import estimate_run

    return estimate_run(config, Settings.from_environment())


def print_estimate(config: "TrainConfig", found: "Estimate", *, as_json: bool) -> None:
    """Print it: `train --dry-run` and `train --estimate`."""
    if as_json:
        print_json(asdict(found))
    else:
        print_table(f"{config.method} on {config.base}, if {config.data} is learned", ("what", "estimate"),
                    found.lines())
