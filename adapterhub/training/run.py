"""One run from rows to folder: read, encode, train, measure, export. The recipe; each step lives in its own file."""

import errno
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from adapterhub.adapter.manifest import DataFacts
from adapterhub.bases.load import Base, load_base
from adapterhub.bases.processor import keep_few_kernels
from adapterhub.data.digest import digest_of_parts
from adapterhub.data.report import DataReport
from adapterhub.errors import InvalidConfig, TrainingError, TrainingStopped, UnknownName
from adapterhub.files import require_free, storage_error
from adapterhub.progress import Progress, ShowProgress, Silent, progress_bar
from adapterhub.reporting.curve import Curve
from adapterhub.reporting.findings import Findings
from adapterhub.reporting.sections import card_tables
from adapterhub.settings import Settings
from adapterhub.tasks.table import find_task
from adapterhub.tasks.task import Evaluation, Task
from adapterhub.training.config import TrainConfig
from adapterhub.training.config_file import config_to_plain
from adapterhub.training.continuing import start_from
from adapterhub.training.evaluate import evaluate_model
from adapterhub.training.export import ExportFacts, Prove, export_folder, export_whole_model, rounded
from adapterhub.training.held import computes_in_bfloat16, hold_frozen
from adapterhub.training.invariants import frozen_digest, require_frozen, require_moved, require_whole
from adapterhub.training.lessons import require_packable
from adapterhub.training.loop import run_loop, seed_everything
from adapterhub.training.methods import State, TrainedModel, build_model
from adapterhub.training.outcome import Outcome, chosen_metric
from adapterhub.training.peft_configs import require_options
from adapterhub.training.plain_lora import as_plain_lora
from adapterhub.training.prepare import LoopInputs, Prepared, prepare, read_data
from adapterhub.training.preset import with_preset
from adapterhub.training.ranks import is_spread_out, process_state
from adapterhub.training.remembered import remember_lower
from adapterhub.training.run_folder import RunFacts, RunFolder, Start
from adapterhub.training.shown import command_of, curve_of, measure_test, metrics_of
from adapterhub.training.trackers import require_trackers
from adapterhub.training.watch import Display, Watcher

Tell = Callable[[DataReport, int], None]
"""Takes what was found in the rows, and the tokens that they are cut at."""
METRIC_MOVES = 0.0005
"""Auto keeps 16 bits where the validation metric moves less than this; one above 1, less than this share of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What a run gave."""

    folder: Path | None
    """None for full fine-tuning, which writes a whole model instead of an adapter."""
    outcome: Outcome
    evaluation: Evaluation
    """On the test rows, with the tensors as they are stored."""
    findings: Findings
    """The same with intervals and what lies behind them."""
    curve: Curve
    report: DataReport
    """On the rows, as `tell` was given it."""
    n_trained: int
    max_length: int
    seconds_ahead: float = 0.0
    """Of running the lower layers over all rows, where they are remembered."""

    @property
    def n_truncated(self) -> int:
        """Training rows that were cut at `max_length`."""
        return sum(part.lengths.n_cut for part in self.report.parts if part.name == "train" and part.lengths)


def run_training(config: TrainConfig, settings: Settings, show: ShowProgress = progress_bar, *, start: Start = "new",
                 watchers: Sequence[Watcher] = (), tell: Tell | None = None,
                 prove: Prove | None = None) -> TrainResult:
    """Train, measure on the test rows, and write the folder; `making.make_adapter` has it proved by the runtime too.

    Raises an AdapterHubError for what the input causes, before training where it can.

    `start`: "new"; "resume" goes on from the newest checkpoint of a stopped run with the same output; "finish" takes
    such a run's best epoch as it is. `tell` is given what was found in the rows, and the tokens that they are cut
    at, before they are learned. `prove` is given the written folder before it is moved into
    place. Ctrl-C and SIGTERM save a checkpoint and raise TrainingStopped.
    """
    keep_few_kernels()
    require_free(config.output)
    _require_writable(config.output)
    task = find_task(config.task)
    if config.metric is not None and config.metric not in task.metrics:
        raise UnknownName("metric", config.metric, task.metrics)
    require_options(config, task)
    require_trackers(config.trackers)
    data = read_data(config, task)
    base = load_base(config.base, cache=settings.cache)
    run = RunFolder(config.output)
    facts = RunFacts(config=config_to_plain(config), data=digest_of_parts(data.digests), base=base.identity.fingerprint)
    try:
        run.open(start, facts)
        config = settled(config, base)
        prepared = prepare(config, task, base, data, settings.cache, show)
        result = _run(config, base, prepared, run, start, show, watchers, prove, tell)
    except BaseException:
        run.leave()
        raise
    run.finish()
    return result


def settled(config: TrainConfig, base: Base) -> TrainConfig:
    """Return the settings with what the base decides."""
    config = with_preset(config, int(base.config.num_hidden_layers))
    return config if config.max_length else replace(config, max_length=min(config.length, base.max_length))


def _run(config: TrainConfig, base: Base, prepared: Prepared, run: RunFolder, start: Start,
         show: ShowProgress, watchers: Sequence[Watcher], prove: Prove | None,
         tell: Tell | None) -> TrainResult:
    task, inputs, labels = prepared.task, prepared.inputs, prepared.inputs.labels
    name = config.name or prepared.report.name
    started = time.perf_counter()
    seed_everything(config.seed)
    plan = config.plan_for(len(inputs.train))
    config = replace(config, epochs=plan.n_epochs, batch_size=plan.batch_size)
    trained = build_model(config, base, task, labels, n_steps=plan.n_steps)
    if config.pack:
        require_packable(trained, task, base)
    parents = _start(config, trained, base, task, labels)
    if config.metric and inputs.validation:  # told now rather than after an epoch: some need rows of their kind
        chosen_metric(config, task, evaluate_model(trained.model, task, inputs.validation, labels, inputs.pad_id))
    if tell is not None and process_state().is_main_process:  # after what may still be refused
        tell(prepared.report, config.length)
    ahead = time.perf_counter()
    n_left_out = remember_lower(trained, task, inputs) if config.remember_lower else 0
    ahead = time.perf_counter() - ahead
    is_held = hold_frozen(config, trained)
    first = trained.state() if trained.is_adapter else {}
    show = show if process_state().is_main_process else _show_nothing
    with show(f"training {name}", plan.n_steps) as progress:
        outcome = _learn(config, trained, first, task, inputs, run, start, [Display(progress), *watchers])
    if n_left_out or is_held or is_spread_out():
        # The whole base in float32; `_store` puts what was trained there.
        trained = build_model(config, base, task, labels, n_steps=plan.n_steps)
    n_trained = trained.n_trained
    trained, outcome.state = as_plain_lora(trained, base, task, labels, first, outcome.state)
    config = replace(config, metric=outcome.metric or None)
    dtype = _store(config, trained, task, inputs, outcome)
    findings, curve = measure_test(config, base, prepared, trained), curve_of(outcome)
    facts = ExportFacts(labels=labels, data=_data_facts(config, name, prepared), evaluation=findings.evaluation,
                        metrics=metrics_of(outcome, findings, inputs), dtype=dtype, parents=parents,
                        tables=card_tables(findings, curve), command=command_of(config, name),
                        found=prepared.report.facts(),
                        seconds=outcome.seconds_before + time.perf_counter() - started)
    if process_state().is_main_process:
        if trained.is_adapter:
            export_folder(config.output, config, base, task, trained, facts, prove)
        else:
            export_whole_model(config.output, trained)
    process_state().wait_for_everyone()
    return TrainResult(folder=config.output if trained.is_adapter else None, outcome=outcome, curve=curve,
                       evaluation=findings.evaluation, findings=findings, report=prepared.report,
                       n_trained=n_trained, max_length=config.length, seconds_ahead=ahead)


def _learn(config: TrainConfig, trained: TrainedModel, first: State, task: Task, inputs: LoopInputs, run: RunFolder,
           start: Start, watchers: Sequence[Watcher]) -> Outcome:
    """Run the loop, and hold it to what every adapter must show beside its `first` tensors.

    Raises TrainingStopped where someone stopped it.
    """
    frozen = frozen_digest(trained) if trained.is_adapter else ""
    outcome = run_loop(config, trained, task, inputs, watchers, run, start=start)
    if outcome.is_interrupted:
        raise TrainingStopped(step=outcome.n_steps, total=config.plan_for(len(inputs.train)).n_steps,
                              best_epoch=outcome.best_epoch, output=str(config.output))
    if not outcome.state:
        raise TrainingError("The stopped run had not ended an epoch, so it has nothing to write.",
                            hint="Go on with --resume.")
    if trained.is_adapter:
        require_whole(first, outcome.state)
        require_frozen(trained, frozen)
        require_moved(first, outcome.state)
    return outcome


@contextmanager
def _show_nothing(title: str, total: int) -> Iterator[Progress]:
    yield Silent()


def _require_writable(output: Path) -> None:
    """Raise StorageError where the folder could not be made, before hours are spent on what goes into it."""
    ancestor = next(place for place in (output.absolute(), *output.absolute().parents) if place.exists())
    if not ancestor.is_dir():
        raise storage_error(output, NotADirectoryError(errno.ENOTDIR, f"{ancestor} is a file"))
    if not os.access(ancestor, os.W_OK | os.X_OK):
        raise storage_error(output, PermissionError(errno.EACCES, f"{ancestor} is not writable"))


def _start(config: TrainConfig, trained: TrainedModel, base: Base, task: Task, labels: list[str]) -> list[str]:
    if config.continue_from is None:
        return []
    return [f"sha256:{start_from(trained, config.continue_from, base, task, labels).digest}"]


def _store(config: TrainConfig, trained: TrainedModel, task: Task, inputs: LoopInputs, outcome: Outcome) -> torch.dtype:
    """Put the best state back as it will be stored, and return the type it is stored in.

    Raises InvalidConfig where float16 is asked for and a value is too large for it.
    """
    short = rounded(outcome.state, torch.float16) if trained.is_adapter and config.dtype != "float32" else None
    fits = short is not None and all(bool(value.isfinite().all()) for value in short.values())
    if short is not None and fits:
        if config.dtype == "float16" or not inputs.validation:
            trained.put(short)
            return torch.float16
        best = outcome.best_value
        if computes_in_bfloat16(config):  # and so did the loop, when it measured that
            trained.put(outcome.state)
            best = _validated(trained, task, inputs, outcome.metric)
        trained.put(short)
        if abs(_validated(trained, task, inputs, outcome.metric) - best) < METRIC_MOVES * max(1.0, abs(best)):
            return torch.float16
    elif config.dtype == "float16":
        raise InvalidConfig("A trained value is too large for float16.", hint="Give dtype auto or float32.")
    trained.put(outcome.state)
    return torch.float32


def _validated(trained: TrainedModel, task: Task, inputs: LoopInputs, metric: str) -> float:
    return evaluate_model(trained.model, task, inputs.validation, inputs.labels, inputs.pad_id).metrics[metric]


def _data_facts(config: TrainConfig, name: str, prepared: Prepared) -> DataFacts:
    return DataFacts(name=name, digest=prepared.digest, n_rows=prepared.report.n_rows,
                     licence=config.licence, source=config.source)
