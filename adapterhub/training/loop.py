"""The training loop: Accelerate's, with length buckets, warm-up, clipping, early stopping and the best epoch kept."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from transformers import get_linear_schedule_with_warmup

from adapterhub.bases.processor import has_native_bfloat16
from adapterhub.errors import TrainingError, UnknownName
from adapterhub.progress import Progress
from adapterhub.tasks.batch import LengthBuckets
from adapterhub.tasks.task import Evaluation, Example, Task, is_better
from adapterhub.training.config import TrainConfig
from adapterhub.training.evaluate import evaluate_model
from adapterhub.training.forward import compute_loss
from adapterhub.training.methods import State, TrainedModel
from adapterhub.training.prepare import LoopInputs

SPEED_STEPS = 20
"""Steps over which the progress bar's rows per second are taken."""


@dataclass(slots=True)
class Outcome:
    """What a run came to."""

    state: State
    """The trained tensors at the best epoch; empty where no epoch ended."""
    best_epoch: int = 0
    """Counted from 1; 0 where no epoch ended."""
    metric: str = ""
    best_value: float = math.nan
    """NaN where nothing was measured."""
    epochs_done: int = 0
    n_steps: int = 0
    seconds: float = 0.0
    is_interrupted: bool = False
    losses: list[float] = field(default_factory=list)
    """Mean per epoch."""
    step_seconds: list[float] = field(default_factory=list)


def run_loop(config: TrainConfig, trained: TrainedModel, task: Task, inputs: LoopInputs, progress: Progress) -> Outcome:
    """Train; after each epoch measure on the validation rows and keep the best state.

    Ctrl-C ends the run with the best state so far. Raises TrainingError where the loss is no number.
    """
    plan = config.plan_for(len(inputs.train))
    accelerator = Accelerator(mixed_precision="bf16" if has_native_bfloat16() else "no")
    loader: torch.utils.data.DataLoader[list[Example]] = torch.utils.data.DataLoader(
        inputs.train,  # type: ignore[arg-type]  # a list is a map-style dataset
        batch_sampler=LengthBuckets([_length(example) for example in inputs.train], plan.batch_size, config.seed),
        collate_fn=list)
    parameters = [value for value in trained.model.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=config.rate, weight_decay=config.weight_decay)
    schedule = get_linear_schedule_with_warmup(optimizer, int(config.warmup * plan.n_steps), plan.n_steps)
    model, optimizer, schedule = accelerator.prepare(trained.model, optimizer, schedule)
    # Accelerate wraps the model's own forward in autocast for good; here only the loss is computed in it, so that
    # what is measured, probed and exported afterwards is float32.
    accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    outcome, started = Outcome(state={}), time.perf_counter()

    def step(examples: list[Example]) -> float:
        with accelerator.autocast():
            loss = compute_loss(model, task, examples, inputs.pad_id, accelerator.device)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(parameters, config.max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        return float(loss.detach())

    try:
        for epoch in range(1, plan.n_epochs + 1):
            _train_epoch(model, loader, step, outcome, progress)
            outcome.epochs_done = epoch
            if _keep_best(config, trained, task, inputs, outcome) >= config.patience:
                break
    except KeyboardInterrupt:
        outcome.is_interrupted = True
    outcome.seconds = time.perf_counter() - started
    return outcome


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch, through Accelerate."""
    set_seed(seed)


def _train_epoch(model: torch.nn.Module, loader: torch.utils.data.DataLoader[list[Example]],
                 step: Callable[[list[Example]], float], outcome: Outcome, progress: Progress) -> None:
    model.train()
    total = 0.0
    for examples in loader:
        started = time.perf_counter()
        loss = step(examples)
        outcome.n_steps += 1
        if not math.isfinite(loss):
            raise TrainingError(f"The loss became {loss} at step {outcome.n_steps}.",
                                hint="Give a lower --learning-rate.")
        outcome.step_seconds.append(time.perf_counter() - started)
        total += loss
        progress.update(outcome.n_steps, _note(outcome, loss, len(examples)))
    outcome.losses.append(total / len(loader))


def _note(outcome: Outcome, loss: float, n_rows: int) -> str:
    """Say how the run goes: the step's loss, the best value so far, rows per second."""
    recent = outcome.step_seconds[-SPEED_STEPS:]
    best = f", best {outcome.metric} {outcome.best_value:.3f}" if outcome.metric else ""
    return f"loss {loss:.3f}{best}, {n_rows * len(recent) / sum(recent):.0f} rows/s"


def _keep_best(config: TrainConfig, trained: TrainedModel, task: Task, inputs: LoopInputs, outcome: Outcome) -> int:
    """Measure, keep the state if it is the best, and return the epochs since the best."""
    if not inputs.validation:
        outcome.state, outcome.best_epoch = trained.state(), outcome.epochs_done
        return 0
    evaluation = evaluate_model(trained.model, task, inputs.validation, inputs.labels, inputs.pad_id)
    metric = chosen_metric(config, task, evaluation)
    if not outcome.metric or is_better(metric, evaluation.metrics[metric], outcome.best_value):
        state = trained.state()  # first, so that Ctrl-C here leaves the earlier best with its own figures
        outcome.state, outcome.best_epoch = state, outcome.epochs_done
        outcome.metric, outcome.best_value = metric, evaluation.metrics[metric]
    return outcome.epochs_done - outcome.best_epoch


def chosen_metric(config: TrainConfig, task: Task, evaluation: Evaluation) -> str:
    """Return the metric that chooses the best epoch: the one asked for, or the task's first that was measured.

    Raises UnknownName where the one asked for is not measured on such rows.
    """
    if config.metric is None:
        return next(name for name in task.metrics if name in evaluation.metrics)
    if config.metric not in evaluation.metrics:
        raise UnknownName("metric for these rows", config.metric, evaluation.metrics)
    return config.metric


def _length(example: Example) -> int:
    return max(len(sequence.input_ids) for sequence in example.sequences)
