"""An estimate for the settings of a run, from its base's config alone; the calibration is optional."""

from pathlib import Path

from adapterhub.bases.load import load_base
from adapterhub.costs.calibrate import measure_speed
from adapterhub.costs.estimate import Estimate, estimate
from adapterhub.costs.shadow import StepShape
from adapterhub.errors import DataError
from adapterhub.progress import waiting
from adapterhub.settings import Settings
from adapterhub.tasks.table import find_task
from adapterhub.training.config import TrainConfig
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
