"""An estimate for the settings of a run: from its base's config alone, or from its rows as well."""

from dataclasses import replace
from pathlib import Path

from adapterhub.bases.load import load_base
from adapterhub.costs.calibrate import SECONDS, measure_speed
from adapterhub.costs.estimate import Estimate, estimate
from adapterhub.costs.shadow import StepShape
from adapterhub.errors import DataError
from adapterhub.progress import waiting
from adapterhub.settings import Settings
from adapterhub.tasks.batch import LengthBuckets
from adapterhub.tasks.table import find_task
from adapterhub.training.config import TrainConfig
from adapterhub.training.prepare import prepare, read_data
from adapterhub.training.preset import with_preset

PAIR_TASKS = frozenset({"sentence-similarity"})
"""Tasks whose rows are two sequences each."""


def estimate_ahead(config: TrainConfig, settings: Settings, *, n_labels: int, n_rows: int | None = None,
                   is_calibrated: bool = True) -> Estimate:
    """Estimate a run of `config`, whose steps all have `max_length` tokens.

    Raises BaseNotFound, DataError for a length that the base does not read, InvalidConfig as `estimate.estimate`.
    """
    task = find_task(config.task)
    base = load_base(config.base, cache=Path(settings.cache))
    if config.length > base.max_length:
        raise DataError(f"length is {config.length}, the base reads at most {base.max_length} tokens.",
                        hint=f"Give --length {base.max_length}.")
    config = with_preset(config, int(base.config.num_hidden_layers))
    shape = StepShape(batch_size=config.batch_size or config.plan_for(n_rows or 1000).batch_size, length=config.length,
                      n_labels=n_labels, n_sequences=2 if task.name in PAIR_TASKS else 1)
    with waiting("counting a step's tensors"):
        found = estimate(config, base, task, shape, n_rows=n_rows)
    if not is_calibrated:
        return found
    with waiting("measuring how fast this machine is"):
        speed = measure_speed(config, base, task, shape)
    return estimate(config, base, task, shape, speed=speed, n_rows=n_rows)


def estimate_run(config: TrainConfig, settings: Settings, *, calibration_s: float | None = None) -> Estimate:
    """Estimate a run on its rows: memory of its longest batch, time of its mean one. No weight of the base is read.

    Raises as `prepare`, and InvalidConfig as `estimate.estimate`.
    """
    task = find_task(config.task)
    base = load_base(config.base, cache=Path(settings.cache))
    config = with_preset(config, int(base.config.num_hidden_layers))
    config = replace(config, max_length=min(config.length, base.max_length))
    inputs = prepare(config, task, base, read_data(config, task), Path(settings.cache)).inputs
    plan = config.plan_for(len(inputs.train))
    config = replace(config, batch_size=plan.batch_size, epochs=plan.n_epochs)
    batches = [max(inputs.lengths[i] for i in batch)
               for batch in LengthBuckets(inputs.lengths, plan.batch_size, config.seed)]
    shape = StepShape(batch_size=plan.batch_size, length=max(batches), n_labels=max(1, len(inputs.labels)),
                      n_sequences=max(len(example.sequences) for example in inputs.train))
    with waiting("measuring how fast this machine is"):
        usual = replace(shape, length=round(sum(batches) / len(batches)))
        speed = measure_speed(config, base, task, usual, SECONDS if calibration_s is None else calibration_s)
    return estimate(config, base, task, shape, speed=speed, n_rows=len(inputs.train))
