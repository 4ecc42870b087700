"""The training loop: Accelerate's, with length buckets, early stopping, the best epoch kept, and a way back in."""

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration, set_seed

from adapterhub.errors import TrainingError
from adapterhub.tasks.batch import LengthBuckets
from adapterhub.tasks.task import Example, Task
from adapterhub.training.checkpoints import Checkpoints
from adapterhub.training.config import StepPlan, TrainConfig
from adapterhub.training.deepspeed_settings import settle_deepspeed
from adapterhub.training.evaluate import evaluate_model
from adapterhub.training.held import computes_in_bfloat16
from adapterhub.training.methods import TrainedModel
from adapterhub.training.optimizer import build_optimizer, build_schedule
from adapterhub.training.outcome import Outcome, chosen_metric, keep_best
from adapterhub.training.prepare import LoopInputs
from adapterhub.training.ranks import is_on_cpu
from adapterhub.training.run_folder import RunFolder, Start
from adapterhub.training.step import NotFinite, Stepper
from adapterhub.training.stopping import StopRequest, stop_on_signals
from adapterhub.training.trackers import Tracking, cut_log, trackers_for
from adapterhub.training.watch import EpochFacts, StepFacts, Watcher


def run_loop(config: TrainConfig, trained: TrainedModel, task: Task, inputs: LoopInputs,
             watchers: Sequence[Watcher] = (), run: RunFolder | None = None, *, start: Start = "new") -> Outcome:
    """Train; after each epoch measure on the validation rows and keep the best state.

    Ctrl-C and SIGTERM end the run after its step, with a checkpoint where there is a `run`. `start` is "resume" to go
    on from its newest checkpoint, "finish" to take what that one has. Raises TrainingError where
    the loss is no number, or no checkpoint is whole.
    """
    plan = config.plan_for(len(inputs.train))
    accelerator = _accelerator(config, run)
    if config.gradient_checkpointing:
        trained.model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    optimizer = build_optimizer(config, trained)
    schedule = build_schedule(config, optimizer, plan)
    if accelerator.num_processes > 1:  # the model is the same in each; what they drop need not be
        set_seed(config.seed + accelerator.process_index)
    settle_deepspeed(accelerator, batch_size=plan.batch_size, max_grad_norm=config.max_grad_norm)
    model, optimizer, schedule = accelerator.prepare(trained.model, optimizer, schedule)
    # Accelerate wraps the model's own forward in autocast for good; here the loss and the validation rows are computed
    # in it, so that what is measured, probed and exported afterwards is float32.
    accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    stepper = Stepper(config=config, task=task, model=model, parameters=trained.parameters(), optimizer=optimizer,
                      schedule=schedule, accelerator=accelerator, pad_id=inputs.pad_id, n_pieces=config.accumulation,
                      budget=trained.budget)
    if trained.budget:
        accelerator.register_for_checkpointing(trained.budget)
    keeper = Checkpoints(run.checkpoints, accelerator, trained, config.checkpoint_seconds) if run else None
    outcome = Outcome(state={}, n_pieces=config.accumulation)
    if keeper and run and start != "new":
        outcome = keeper.load()
        stepper.n_pieces = outcome.n_pieces
        cut_log(run.log, outcome.n_steps)
    if run:
        watchers = [*watchers, Tracking(accelerator)]
    loop = _Loop(config=config, plan=plan, trained=trained, task=task, inputs=inputs, stepper=stepper, keeper=keeper,
                 watchers=watchers, outcome=outcome)
    if start != "finish":
        with stop_on_signals() as request:
            loop.run(request)
        if keeper and not outcome.is_interrupted and outcome.seconds >= config.checkpoint_seconds:
            keeper.save(outcome)  # should the export fail, the work is not lost
    for tracker in accelerator.trackers:  # `end_training` would part the processes, who still meet at the export
        tracker.finish()
    return outcome


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch, through Accelerate."""
    set_seed(seed)


@dataclass(slots=True, kw_only=True)
class _Loop:
    """One run on its way."""

    config: TrainConfig
    plan: StepPlan
    trained: TrainedModel
    task: Task
    inputs: LoopInputs
    stepper: Stepper
    keeper: Checkpoints | None
    watchers: Sequence[Watcher]
    outcome: Outcome

    def run(self, request: StopRequest) -> None:
        """Go through the epochs that are left, until one of the reasons to stop."""
        started, before = time.perf_counter(), self.outcome.seconds
        buckets = LengthBuckets(self.inputs.lengths, self.plan.batch_size, self.config.seed)
        passes = (list(buckets) for _ in range(self.plan.n_epochs))  # each pass reshuffles
        for batches in itertools.islice(passes, self.outcome.epochs_done, None):
            n_done = self.outcome.n_steps - self.outcome.epochs_done * self.plan.steps_per_epoch
            self.trained.model.train()
            for rows in batches[n_done:]:
                self._step(rows)
                self.outcome.seconds = before + time.perf_counter() - started
                if self._is_to_stop(request):
                    return
            if self._end_epoch() >= self.config.patience:
                return

    def _step(self, rows: list[int]) -> None:
        outcome, stepper = self.outcome, self.stepper
        examples: list[Example] = [self.inputs.train[i] for i in rows]
        rate, started = stepper.optimizer.param_groups[0]["lr"], time.perf_counter()
        try:
            loss, norm = stepper.take(examples, outcome.n_steps + 1)
        except NotFinite as fault:
            if outcome.n_steps:
                self._save()
            raise TrainingError(f"{fault} at step {outcome.n_steps + 1}, on training rows {_some(rows)}.",
                                hint=f"Give a lower --learning-rate than {self.config.rate:g}{self._kept}.") from fault
        seconds = time.perf_counter() - started
        outcome.n_steps, outcome.n_pieces = outcome.n_steps + 1, stepper.n_pieces
        outcome.loss_so_far += loss
        outcome.step_seconds.append(seconds)
        facts = StepFacts(step=outcome.n_steps, epoch=outcome.epochs_done + 1, loss=loss, learning_rate=rate,
                          gradient_norm=norm, n_rows=len(rows), seconds=seconds)
        for watcher in self.watchers:
            watcher.step_ended(facts)

    def _is_to_stop(self, request: StopRequest) -> bool:
        """Save where it is time, and say whether the run ends here; all processes agree."""
        accelerator = self.stepper.accelerator
        is_asked, is_due = request.is_made, self.keeper is not None and self.keeper.is_due
        if accelerator.num_processes > 1:
            told = torch.tensor([is_asked, is_due and accelerator.is_main_process], dtype=torch.float32,
                                device=accelerator.device)
            is_asked, is_due = (bool(value) for value in accelerator.reduce(told, "sum"))
        if is_asked or is_due:
            self._save()
        self.outcome.is_interrupted = is_asked
        return is_asked

    def _end_epoch(self) -> int:
        """Measure, keep the state if it is the best, tell it, and return the epochs since the best."""
        outcome, inputs = self.outcome, self.inputs
        metrics: dict[str, float] = {}
        metric = ""
        if inputs.validation:
            evaluation = evaluate_model(self.trained.model, self.task, inputs.validation, inputs.labels, inputs.pad_id,
                                        computing=self.stepper.accelerator.autocast)
            metrics, metric = evaluation.metrics, chosen_metric(self.config, self.task, evaluation)
        outcome.epochs_done += 1
        outcome.losses.append(outcome.loss_so_far / self.plan.steps_per_epoch)
        outcome.loss_so_far = 0.0
        outcome.epoch_metrics.append(metrics)
        keep_best(outcome, metric, metrics.get(metric, math.nan), self.trained)
        facts = EpochFacts(epoch=outcome.epochs_done, step=outcome.n_steps, loss=outcome.losses[-1], metrics=metrics,
                           metric=metric, best_epoch=outcome.best_epoch, best_value=outcome.best_value)
        for watcher in self.watchers:
            watcher.epoch_ended(facts)
        return outcome.epochs_done - outcome.best_epoch

    @property
    def _kept(self) -> str:
        """Say what is left of a run that cannot go on."""
        if not self.keeper or not self.outcome.n_steps:
            return ""
        best = f"; --finish takes the best epoch, {self.outcome.best_epoch}" if self.outcome.best_epoch else ""
        return f"; the checkpoint before that step is kept in {self.keeper.folder}{best}"

    def _save(self) -> None:
        if self.keeper:
            self.keeper.save(self.outcome)


def _accelerator(config: TrainConfig, run: RunFolder | None) -> Accelerator:
    # Each batch is spread over the processes, so that a step is the same step with any number of them.
    accelerator = Accelerator(mixed_precision="bf16" if computes_in_bfloat16(config) else "no", cpu=is_on_cpu(),
                              dataloader_config=DataLoaderConfiguration(split_batches=True),
                              log_with=(trackers_for(config.trackers, run.log) or None) if run else None,
                              project_dir=run.path if run else None)
    if run:
        accelerator.init_trackers(run.path.stem, config=config.hyperparameters())
    return accelerator


def _some(rows: Sequence[int]) -> str:
    shown = ", ".join(str(row + 1) for row in rows[:8])
    return f"{shown} and {len(rows) - 8} more" if len(rows) > 8 else shown
