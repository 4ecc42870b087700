"""The bare base as an arm: what it answers without any training, where it has all that the task needs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from adapterhub.bases.load import load_base
from adapterhub.costs.figures import ArmFigures
from adapterhub.data.split import SplitPlan, read_splits
from adapterhub.errors import TrainingError
from adapterhub.settings import Settings
from adapterhub.tasks.loading import load_for
from adapterhub.tasks.table import find_task
from adapterhub.training.config import TrainConfig
from adapterhub.training.evaluate import evaluate_model
from adapterhub.training.methods import head_modules


def measure_bare(name: str, given: Mapping[str, Any], settings: Settings, begin: Callable[[int], None]) -> ArmFigures:
    """Measure a base on the test rows; `begin` is called once everything is ready, with the number of steps.

    Raises TrainingError where the task needs a head that has to be trained first.
    """
    config = TrainConfig(task=given["task"], data=given["data"], base=given["base"], output=Path(given["output"]),
                         max_length=given["max_length"], seed=given["seed"])
    task = find_task(config.task)
    splits = read_splits(config.data, columns=task.columns, given=config.columns,
                         plan=SplitPlan(fractions=config.fractions, seed=config.seed, stratify_by=task.stratify_by))
    base = load_base(config.base, cache=settings.cache)
    labels = task.labels_of(splits.train)
    model = load_for(base, task, labels)
    if head := head_modules(model):
        raise TrainingError(f"The bare base cannot answer {config.task}: {head[0]} would be random.")
    begin(1)
    evaluation = evaluate_model(model, task, task.encode(splits.test, base.tokenizer, labels, config.length), labels,
                                int(base.tokenizer.pad_token_id or 0))
    return ArmFigures(arm=name or "bare", method="bare", seed=config.seed, learning_rate=0.0, epochs=0, n_steps=0,
                      trained_parameters=0, total_parameters=sum(value.numel() for value in model.parameters()),
                      disk_bytes=0, peak_memory_bytes=0, write_memory_bytes=0, reserved_memory_bytes=0,
                      step_seconds=0.0, step_processor_seconds=0.0, train_seconds=0.0, metrics=evaluation.metrics,
                      n_test_rows=evaluation.n_rows)
