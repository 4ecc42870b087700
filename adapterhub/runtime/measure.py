"""Measure adapters in the runtime: on rows, and on their own probes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from adapterhub.adapter.folder import AdapterFolder
from adapterhub.bases.load import Base, load_base
from adapterhub.data.split import read_test_rows
from adapterhub.errors import DataError, InvalidConfig, InvalidFolder
from adapterhub.reporting.findings import metrics_of
from adapterhub.reporting.measured import Measured
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.generation.scoring import ScoringModel
from adapterhub.runtime.shared_base import SharedBase
from adapterhub.settings import Settings
from adapterhub.tasks.generation import GenerationTask
from adapterhub.tasks.probe import probe_examples
from adapterhub.tasks.table import find_task
from adapterhub.tasks.task import Evaluation, Example, Row, Task
from adapterhub.tasks.written import N_WRITTEN, Answered, questions_of, with_answers

MEASURING = RuntimeConfig(dtype="float32")
"""Figures are measured in the type that they were recorded in, whatever serving uses."""
PROBE_TOLERANCE = 1e-3
"""Between machines: float32 sums are ordered otherwise on other processors; a wrong base differs by far more."""


def evaluate_adapter(folder: AdapterFolder, data: str, *, base: str, settings: Settings,
                     columns: Mapping[str, str]) -> Evaluation:
    """Measure a folder on a file's rows through the runtime, calibration among the metrics.

    Raises DataError, BaseMismatch, InvalidFolder.
    """
    measured = measure_adapters({str(folder.path): folder}, data, base=base, settings=settings, columns=columns)[0]
    return replace(measured.evaluation, metrics=metrics_of(measured))


def measure_adapters(folders: Mapping[str, AdapterFolder], data: str, *, base: str, settings: Settings,
                     columns: Mapping[str, str]) -> list[Measured]:
    """Measure folders by their names, all on the same rows, one base loaded once. Raises as `evaluate_adapter`.

    InvalidConfig where the folders' tasks differ.
    """
    task = find_task(_only_task(folders))
    rows = read_test_rows(data, columns=task.columns, given=columns)
    shared = _open(load_base(base, cache=settings.cache), task)
    measured = []
    for name, folder in folders.items():
        try:
            measured.append(_measure(name, folder, shared, task, rows))
        except DataError as error:  # of several, whose labels these rows are not
            raise DataError(error.message if len(folders) == 1 else f"{name}: {error.message}",
                            hint=error.hint) from error
    return measured


def _only_task(folders: Mapping[str, AdapterFolder]) -> str:
    tasks = {folder.manifest.task: name for name, folder in folders.items()}
    if len(tasks) > 1:
        told = ", ".join(f"{name} is for {task}" for task, name in tasks.items())
        raise InvalidConfig(f"No rows fit all these adapters: {told}.", hint="Compare adapters of one task.")
    return next(iter(tasks))


def _open(base: Base, task: Task) -> SharedBase | ScoringModel:
    """Return what computes a task's outputs under adapters of the base."""
    return ScoringModel(base, MEASURING) if task.writes else SharedBase(base, MEASURING)


def _measure(name: str, folder: AdapterFolder, shared: SharedBase | ScoringModel, task: Task,
             rows: Sequence[Row]) -> Measured:
    manifest = folder.manifest
    examples = task.encode(rows, shared.base.tokenizer, manifest.labels, manifest.head.max_length)
    outputs = _compute_in(folder, shared, examples)
    evaluation = task.evaluate(outputs, examples, manifest.labels)
    answers = _answers(folder, shared, task, rows) if isinstance(shared, ScoringModel) else []
    return Measured(name=name, task=task, labels=manifest.labels, examples=examples, outputs=outputs,
                    evaluation=with_answers(evaluation, answers), answers=answers)


def _answers(folder: AdapterFolder, model: ScoringModel, task: Task, rows: Sequence[Row]) -> list[Answered]:
    assert isinstance(task, GenerationTask), "only tasks that write are scored"
    questions = questions_of(task, rows, model.base.tokenizer, max_length=model.base.max_length, limit=N_WRITTEN)
    return model.write(questions, model.adapters.load(folder, in_use=()))


def verify_probe(folder: AdapterFolder, base: Base) -> float | None:
    """Return the largest difference to the recorded probe outputs, None where none were recorded or none is served.

    Raises InvalidFolder where it is too large, or no number.
    """
    if not folder.manifest.probe or not folder.config.is_served:
        return None
    task = find_task(folder.manifest.task)
    examples = probe_examples(task, [row.input_ids for row in folder.manifest.probe])
    outputs = _compute_in(folder, _open(base, task), examples)
    largest = 0.0
    for row, output in zip(folder.manifest.probe, outputs, strict=True):
        found, recorded = output[0].flatten(), torch.tensor(row.outputs)
        if found.shape != recorded.shape:
            raise InvalidFolder(str(folder.path), [f"its probe has {len(recorded)} outputs, the runtime {len(found)}"])
        difference = float((found - recorded).abs().max() / recorded.abs().max().clamp(min=1.0))
        if not difference <= PROBE_TOLERANCE:  # NaN is no difference that could be small
            raise InvalidFolder(str(folder.path), [f"its probe differs by {difference:.1e} from what was recorded"],
                                hint="It does not compute what it did when it was made; do not serve it.")
        largest = max(largest, difference)
    return largest


def _compute_in(folder: AdapterFolder, shared: SharedBase | ScoringModel,
                examples: list[Example]) -> list[list[torch.Tensor]]:
    adapter = shared.adapters.load(folder, in_use=())
    return shared.compute([(adapter, example) for example in examples])
