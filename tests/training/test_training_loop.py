"""The loop: the best epoch by the chosen metric, early stopping, warm-up, clipping, seeds, and float32 measurements."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import accelerate
import pytest
import torch
from accelerate.state import AcceleratorState

from adapterhub.adapter.folder import read_folder
from adapterhub.adapter.peft_config import WEIGHTS_FILE
from adapterhub.bases.load import Base
from adapterhub.errors import TrainingError, UnknownName
from adapterhub.tasks.table import find_task
from adapterhub.tasks.task import Evaluation, Example
from adapterhub.training import loop
from adapterhub.training.config import TrainConfig
from adapterhub.training.evaluate import compute_outputs
from adapterhub.training.loop import run_loop, seed_everything
from adapterhub.training.methods import TrainedModel, build_model
from adapterhub.training.outcome import Outcome
from adapterhub.training.prepare import LoopInputs
from adapterhub.training.run import TrainResult
from adapterhub.training.watch import Display

TASK = find_task("text-classification")
LABELS = ["card", "loan"]


class Scripted:
    """The text task, with validation figures that a test writes."""

    def __init__(self, accuracies: Sequence[float], macro_f1: Sequence[float] = ()) -> None:
        self.accuracies, self.macro_f1 = iter(accuracies), iter(macro_f1 or accuracies)

    def __getattr__(self, name: str) -> Any:
        return getattr(TASK, name)

    def evaluate(self, outputs: Any, examples: Sequence[Example], labels: Sequence[str]) -> Evaluation:
        return Evaluation(metrics={"accuracy": next(self.accuracies), "macro_f1": next(self.macro_f1)}, n_rows=2)


class Recorder:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def update(self, completed: int, note: str = "") -> None:
        self.notes.append(note)


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()


@pytest.fixture
def inputs(tiny_base: Base) -> LoopInputs:
    rows = [{"text": f"the {word} {'new ' * (i % 3)}", "label": word} for i in range(8) for word in LABELS]
    examples = TASK.encode(rows, tiny_base.tokenizer, LABELS, 16)
    return LoopInputs(train=examples, validation=examples[:4], labels=LABELS, pad_id=0)


@pytest.fixture
def trained(tiny_base: Base, tiny_config: Callable[..., TrainConfig]) -> TrainedModel:
    seed_everything(0)
    return build_model(tiny_config(), tiny_base, TASK, LABELS)


def digest(folder: Path | None) -> str:
    assert folder
    return hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()


def states_after_each_epoch(trained: TrainedModel, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """Every validation, as it happens, adds the state that it measures."""
    states: list[dict[str, torch.Tensor]] = []
    measure = loop.evaluate_model

    def record(*args: Any, **more: Any) -> Evaluation:
        states.append(trained.state())
        return measure(*args, **more)

    monkeypatch.setattr(loop, "evaluate_model", record)
    return states


def are_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_best_epoch_by_the_first_metric_is_kept(trained: TrainedModel, inputs: LoopInputs,
                                                monkeypatch: pytest.MonkeyPatch,
                                                tiny_config: Callable[..., TrainConfig]) -> None:
    states = states_after_each_epoch(trained, monkeypatch)
    outcome = run_loop(tiny_config(epochs=4), trained, Scripted([0.1, 0.7, 0.3, 0.7]), inputs)
    assert (outcome.best_epoch, outcome.epochs_done) == (2, 4)
    assert (outcome.metric, outcome.best_value) == ("accuracy", 0.7)
    assert are_equal(outcome.state, states[1])
    assert not are_equal(outcome.state, states[3])


def test_metric_that_was_asked_for_chooses_the_epoch(trained: TrainedModel, inputs: LoopInputs,
                                                     tiny_config: Callable[..., TrainConfig]) -> None:
    task = Scripted([0.9, 0.1, 0.1], macro_f1=[0.1, 0.2, 0.9])
    outcome = run_loop(tiny_config(epochs=3, metric="macro_f1"), trained, task, inputs)
    assert (outcome.best_epoch, outcome.metric, outcome.best_value) == (3, "macro_f1", 0.9)


def test_training_stops_after_patience_without_a_better_epoch(trained: TrainedModel, inputs: LoopInputs,
                                                              tiny_config: Callable[..., TrainConfig]) -> None:
    task = Scripted([0.5, 0.6, 0.6, 0.4, 0.9])
    outcome = run_loop(tiny_config(epochs=5, patience=2), trained, task, inputs)
    assert (outcome.best_epoch, outcome.epochs_done) == (2, 4)
    assert outcome.n_steps == 4 * 2 == len(outcome.step_seconds)
    assert len(outcome.losses) == 4


def test_last_epoch_is_kept_without_validation_rows(trained: TrainedModel, inputs: LoopInputs,
                                                    tiny_config: Callable[..., TrainConfig]) -> None:
    alone = replace(inputs, validation=[])
    outcome = run_loop(tiny_config(epochs=3, patience=1), trained, TASK, alone)
    assert (outcome.best_epoch, outcome.epochs_done, outcome.metric) == (3, 3, "")
    assert are_equal(outcome.state, trained.state())


def test_loss_falls_on_rows_that_can_be_learned(trained: TrainedModel, inputs: LoopInputs,
                                                tiny_config: Callable[..., TrainConfig]) -> None:
    outcome = run_loop(tiny_config(epochs=6, patience=6), trained, TASK, inputs)
    assert outcome.losses[-1] < 0.5 * outcome.losses[0]
    assert outcome.best_value == 1.0


def test_only_the_adapter_moves(trained: TrainedModel, inputs: LoopInputs,
                                tiny_config: Callable[..., TrainConfig]) -> None:
    own = {name for name, value in trained.model.named_parameters() if value.requires_grad}
    before = {name: value.clone() for name, value in trained.model.named_parameters()}
    run_loop(tiny_config(epochs=2), trained, TASK, inputs)
    moved = {name for name, value in trained.model.named_parameters() if not torch.equal(value, before[name])}
    assert moved == own
    assert all("lora_" in name or "modules_to_save" in name for name in own)


def test_rate_warms_up_and_falls_to_zero(trained: TrainedModel, inputs: LoopInputs, monkeypatch: pytest.MonkeyPatch,
                                         tiny_config: Callable[..., TrainConfig]) -> None:
    rates: list[float] = []
    step = torch.optim.AdamW.step

    def record(self: torch.optim.AdamW, *args: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args)

    monkeypatch.setattr(torch.optim.AdamW, "step", record)
    run_loop(tiny_config(epochs=5, warmup=0.4, learning_rate=0.1, patience=5), trained, TASK, inputs)
    assert rates == pytest.approx([0.1 * min(i / 4, (10 - i) / 6) for i in range(10)])


def test_gradients_are_clipped_to_the_norm_that_is_given(trained: TrainedModel, inputs: LoopInputs,
                                                         monkeypatch: pytest.MonkeyPatch,
                                                         tiny_config: Callable[..., TrainConfig]) -> None:
    norms: list[float] = []
    step = torch.optim.AdamW.step

    def record(self: torch.optim.AdamW, *args: Any) -> Any:
        gradients = [value.grad for group in self.param_groups for value in group["params"]]
        norms.append(float(torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))))
        return step(self, *args)

    monkeypatch.setattr(torch.optim.AdamW, "step", record)
    run_loop(tiny_config(max_grad_norm=1e-3), trained, TASK, inputs)
    assert norms == pytest.approx([1e-3] * len(norms), rel=1e-3)


def test_loss_that_is_no_number_stops_with_the_step(trained: TrainedModel, inputs: LoopInputs,
                                                    tiny_config: Callable[..., TrainConfig]) -> None:
    class Broken(Scripted):
        def loss(self, outputs: list[torch.Tensor], examples: Sequence[Example]) -> torch.Tensor:
            return outputs[0].sum() * float("nan")

    with pytest.raises(TrainingError, match=r"loss became nan at step 1, on training rows \d.*\. Give a lower --learn"):
        run_loop(tiny_config(), trained, Broken([1.0]), inputs)


def test_outputs_that_are_no_numbers_are_told_rather_than_measured(trained: TrainedModel, inputs: LoopInputs) -> None:
    with torch.no_grad():
        next(value for value in trained.model.parameters() if value.requires_grad).fill_(float("nan"))
    with pytest.raises(TrainingError, match="no finite numbers"):
        compute_outputs(trained.model, TASK, inputs.validation, 0)


def test_run_whose_loss_is_no_number_writes_nothing(run_tiny: Callable[..., TrainResult], tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(TASK), "loss", lambda self, outputs, examples: outputs[0].sum() * float("inf"))
    with pytest.raises(TrainingError, match="Give a lower --learning-rate"):
        run_tiny()
    assert list(tmp_path.iterdir()) == []


def test_progress_tells_loss_metric_and_speed(trained: TrainedModel, inputs: LoopInputs,
                                              tiny_config: Callable[..., TrainConfig]) -> None:
    progress = Recorder()
    run_loop(tiny_config(epochs=2), trained, Scripted([0.25, 0.5]), inputs, [Display(progress)])
    assert [note.split(",")[0].split()[0] for note in progress.notes] == ["loss"] * 4
    assert all(note.endswith("rows/s") for note in progress.notes)
    assert ["best accuracy 0.250" in note for note in progress.notes] == [False, False, True, True]


def test_same_seed_gives_the_same_bytes_and_another_seed_others(run_tiny: Callable[..., TrainResult],
                                                                tmp_path: Path) -> None:
    digests = [digest(run_tiny(seed=seed, output=tmp_path / name, fractions=(0.7, 0.15, 0.15)).folder)
               for seed, name in ((1, "a"), (1, "b"), (2, "c"))]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_loop_computes_in_the_precision_that_is_asked_for(precision: str, trained: TrainedModel, inputs: LoopInputs,
                                                    monkeypatch: pytest.MonkeyPatch,
                                                    tiny_config: Callable[..., TrainConfig]) -> None:
    types: dict[bool, set[torch.dtype]] = {True: set(), False: set()}
    outputs = TASK.outputs

    def record(output: Any, mask: torch.Tensor) -> torch.Tensor:
        types[trained.model.training].add(output.logits.dtype)
        return outputs(output, mask)

    task = Scripted([0.5])
    monkeypatch.setattr(task, "outputs", record, raising=False)
    run_loop(tiny_config(precision=precision), trained, task, inputs)
    expected = {torch.bfloat16 if precision == "bfloat16" else torch.float32}
    assert types == {True: expected, False: expected}


def test_what_is_computed_after_autocast_training_is_float32_to_the_bit(
        trained: TrainedModel, inputs: LoopInputs, tiny_base: Base, tiny_config: Callable[..., TrainConfig]) -> None:
    """Accelerate leaves its autocast around the model's own forward; so the probe was once measured in bfloat16."""
    outcome = run_loop(tiny_config(precision="bfloat16"), trained, TASK, inputs)
    fresh = build_model(tiny_config(), tiny_base, TASK, LABELS)
    fresh.put(outcome.state)
    ours, theirs = (compute_outputs(model.model, TASK, inputs.train, 0) for model in (trained, fresh))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(ours, theirs, strict=True))


def test_probe_after_autocast_training_is_what_a_float32_reload_gives(run_tiny: Callable[..., TrainResult]) -> None:
    folder = run_tiny(epochs=2, precision="bfloat16").folder  # the export compares the probe with a reload, to 1e-5
    assert folder
    assert len(read_folder(folder).manifest.probe) == 3


def test_metric_that_these_rows_do_not_have_is_told_before_training(
        run_tiny: Callable[..., TrainResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        tiny_rows: dict[str, Path]) -> None:
    monkeypatch.setattr(accelerate.Accelerator, "backward", lambda *_: pytest.fail("a step was made"))
    with pytest.raises(UnknownName, match="Unknown metric for these rows 'spearman'; known: mrr, recall_at_1"):
        run_tiny(task="sentence-similarity", data=str(tiny_rows["pairs"]), metric="spearman")
    assert not (tmp_path / "out").exists()


def test_metric_of_another_task_is_unknown(run_tiny: Callable[..., TrainResult]) -> None:
    with pytest.raises(UnknownName, match="Unknown metric 'entity_f1'; known: accuracy, macro_f1"):
        run_tiny(metric="entity_f1")


def test_outcome_of_nothing_has_no_state() -> None:
    assert not Outcome(state={}).state
