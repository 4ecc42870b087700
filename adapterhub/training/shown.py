"""What a run shows when it has ended: test rows measured with intervals, its epochs, and the figures to keep."""

import shlex
from dataclasses import MISSING, fields

from adapterhub.adapter.manifest import Metric
from adapterhub.bases.load import Base
from adapterhub.reporting.curve import Curve, Epoch
from adapterhub.reporting.findings import Findings, findings_of
from adapterhub.reporting.measured import Measured
from adapterhub.tasks.generation import GenerationTask
from adapterhub.tasks.task import Evaluation
from adapterhub.tasks.written import Answered, questions_of, with_answers
from adapterhub.training.config import TrainConfig
from adapterhub.training.evaluate import compute_outputs
from adapterhub.training.methods import TrainedModel
from adapterhub.training.outcome import Outcome
from adapterhub.training.prepare import LoopInputs, Prepared
from adapterhub.training.write import write_answers

_PLACES = ("data", "output", "base", "continue_from")
"""Settings that may name places of this machine, which a card does not tell."""


def measure_test(config: TrainConfig, base: Base, prepared: Prepared, trained: TrainedModel) -> Findings:
    """Measure the test rows with the model as it will be stored; without such rows nothing is found."""
    task, labels, examples = prepared.task, prepared.inputs.labels, prepared.test
    outputs, evaluation = [], Evaluation(metrics={}, n_rows=0)
    if examples:
        outputs = compute_outputs(trained.model, task, examples, prepared.inputs.pad_id)
        evaluation = task.evaluate(outputs, examples, labels)
    answers = _answers(config, base, prepared, trained)
    return findings_of(Measured(name=config.output.name, task=task, labels=labels, examples=examples, outputs=outputs,
                                evaluation=with_answers(evaluation, answers), answers=answers))


def _answers(config: TrainConfig, base: Base, prepared: Prepared, trained: TrainedModel) -> list[Answered]:
    """Return what the model writes for some of the test rows; nothing where the task does not write."""
    if not isinstance(prepared.task, GenerationTask):
        return []
    rows = [example.row for example in prepared.test[:config.n_written]]
    questions = questions_of(prepared.task, rows, base.tokenizer, max_length=base.max_length, limit=config.n_written)
    return write_answers(trained.model, questions, base.tokenizer)


def curve_of(outcome: Outcome) -> Curve:
    """Return a run's learning curve."""
    values = [metrics.get(outcome.metric) for metrics in outcome.epoch_metrics]
    values += [None] * (len(outcome.losses) - len(values))
    return Curve(metric=outcome.metric, best_epoch=outcome.best_epoch,
                 epochs=[Epoch(number=number, loss=loss, value=value)
                         for number, (loss, value) in enumerate(zip(outcome.losses, values, strict=False), start=1)])


def metrics_of(outcome: Outcome, findings: Findings, inputs: LoopInputs) -> list[Metric]:
    """Return the manifest's figures: those of the test rows with their intervals, and what chose the best epoch."""
    metrics = [Metric(name=name, split="test", value=value,
                      n_rows=findings.evaluation.n_rows_of.get(name, findings.evaluation.n_rows),
                      interval=findings.intervals.get(name))
               for name, value in findings.metrics.items()]
    if outcome.metric:
        metrics.append(Metric(name=outcome.metric, split="validation", value=outcome.best_value,
                              n_rows=len(inputs.validation)))
    return metrics


def command_of(config: TrainConfig, data: str) -> str:
    """Return the command that a run is made again by; places are told by their last name, and defaults left out."""
    words = ["adapterhub", "train", "--task", config.task, "--data", data, "--output", config.output.name]
    for field in fields(config):
        value = getattr(config, field.name)
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        if field.name in ("task", "data", "output", "name") or value == default or value is None:
            continue
        words += _words(field.name, str(value).rstrip("/").rpartition("/")[2] if field.name in _PLACES else value)
    return shlex.join(words)


def _words(name: str, value: object) -> list[str]:
    """Return one setting as options: a pair or an item of several is an option of its own, named in the singular."""
    option = f"--{name.replace('_', '-')}"
    singular = option.removesuffix("s")
    if isinstance(value, bool):
        return [option if value else f"--no-{option[2:]}"]
    if isinstance(value, dict):
        return [word for key, own in value.items() for word in (singular, f"{key}={own}")]
    if isinstance(value, (tuple, list)):
        joined = [(option, ",".join(value))] if name == "targets" else [(singular, str(own)) for own in value]
        return [word for pair in joined for word in pair]
    return [option, f"{value:g}" if isinstance(value, float) else str(value)]
