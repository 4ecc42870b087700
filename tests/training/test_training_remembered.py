"""A model whose lower layers are remembered computes what the whole model computes, and trains to the same adapter."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny import answer_rows, entity_rows, intent_rows, pair_rows, write_rows, write_tiny_base

from adapterhub.bases.load import Base, load_base
from adapterhub.errors import InvalidConfig, UnknownName
from adapterhub.settings import Settings
from adapterhub.tasks.table import find_task
from adapterhub.tasks.task import Example, TokenSequence
from adapterhub.training.config import TrainConfig
from adapterhub.training.evaluate import compute_outputs
from adapterhub.training.methods import TrainedModel, build_model
from adapterhub.training.prepare import LoopInputs
from adapterhub.training.preset import with_preset
from adapterhub.training.remembered import lowest_trained, remember_lower, repeated_layers
from adapterhub.training.run import TrainResult

TASK = find_task("text-classification")
LABELS = ["card", "loan", "travel"]


@pytest.fixture(scope="module")
def deep_base(tmp_path_factory: pytest.TempPathFactory, tiny_settings: Settings) -> Base:
    folder = write_tiny_base(tmp_path_factory.mktemp("deep") / "base", n_layers=4)
    return load_base(str(folder), cache=tiny_settings.cache)


def built(config: TrainConfig, base: Base) -> tuple[TrainedModel, LoopInputs]:
    torch.manual_seed(0)
    examples = TASK.encode(intent_rows(3), base.tokenizer, LABELS, 32)
    inputs = LoopInputs(train=examples[:20], validation=examples[20:], labels=LABELS, pad_id=0)
    return build_model(config, base, TASK, LABELS), inputs


def test_remembered_model_gives_the_whole_models_outputs(deep_base: Base,
                                                         tiny_config: Callable[..., TrainConfig]) -> None:
    trained, inputs = built(tiny_config(upper_layers=2), deep_base)
    everything = [*inputs.train, *inputs.validation]
    whole = compute_outputs(trained.model, TASK, everything, 0)
    assert remember_lower(trained, TASK, inputs) == 2
    for mine, reference in zip(compute_outputs(trained.model, TASK, everything, 0), whole, strict=True):
        torch.testing.assert_close(mine[0], reference[0], rtol=0, atol=0.03)  # kept in bfloat16: 8 bits


def test_embeddings_and_lower_layers_leave_memory(deep_base: Base, tiny_config: Callable[..., TrainConfig]) -> None:
    trained, inputs = built(tiny_config(upper_layers=1), deep_base)
    before = sum(value.numel() for value in trained.model.parameters())
    gone = [*repeated_layers(trained.model)[:3], trained.model.get_input_embeddings()]
    n_gone = sum(value.numel() for module in gone for value in module.parameters())
    n_trained = trained.n_trained
    remember_lower(trained, TASK, inputs)
    assert sum(value.numel() for value in trained.model.parameters()) == before - n_gone
    assert trained.n_trained == n_trained


def test_lean_run_learns_what_the_same_run_without_memory_learns(
        run_tiny: Callable[..., TrainResult], deep_base: Base) -> None:
    given = {"base": str(deep_base.source.folder), "upper_layers": 2, "epochs": 3}
    plain = run_tiny(**given)
    assert plain.folder is not None
    plain.folder.rename(plain.folder.with_name("plain"))
    lean = run_tiny(**given, remember_lower=True)
    assert lean.seconds_ahead > 0
    assert lean.n_trained == plain.n_trained
    for mine, reference in zip(lean.outcome.losses, plain.outcome.losses, strict=True):
        assert mine == pytest.approx(reference, abs=0.05)
    assert lean.evaluation.metrics["accuracy"] >= plain.evaluation.metrics["accuracy"] - 0.2  # 6 rows: one of them


def test_every_layer_adapted_leaves_nothing_to_remember(deep_base: Base,
                                                        tiny_config: Callable[..., TrainConfig]) -> None:
    trained, inputs = built(tiny_config(), deep_base)
    assert lowest_trained(repeated_layers(trained.model)) == 0
    assert remember_lower(trained, TASK, inputs) == 0


def test_sequences_that_end_in_padding_are_refused(deep_base: Base, tiny_config: Callable[..., TrainConfig]) -> None:
    trained, inputs = built(tiny_config(upper_layers=1), deep_base)
    odd = Example(sequences=[TokenSequence(input_ids=[2, 5, 0], token_type_ids=[0, 0, 0])], target=0)
    with pytest.raises(InvalidConfig, match="end in padding"):
        remember_lower(trained, TASK, LoopInputs(train=[odd], validation=[], labels=LABELS, pad_id=inputs.pad_id))


def test_lean_preset_keeps_what_is_given_beside_it(tiny_config: Callable[..., TrainConfig]) -> None:
    lean = with_preset(tiny_config(preset="lean", rank=None, learning_rate=None), n_layers=6)
    assert (lean.upper_layers, lean.remember_lower, lean.rank, lean.accumulation) == (3, True, 16, 2)
    given = with_preset(tiny_config(preset="lean", rank=4, learning_rate=1e-3, upper_layers=1), n_layers=6)
    assert (given.upper_layers, given.rank, given.rate) == (1, 4, 1e-3)


@pytest.mark.parametrize("task", ["sentence-similarity", "token-classification", "question-answering"])
def test_lean_learns_every_tasks_rows(task: str, run_tiny: Callable[..., TrainResult], tmp_path: Path) -> None:
    rows = {"sentence-similarity": pair_rows, "token-classification": entity_rows, "question-answering": answer_rows}
    data = write_rows(tmp_path / "rows.jsonl", rows[task]())
    result = run_tiny(task=task, data=str(data), preset="lean", max_length=48)
    assert result.folder is not None
    assert result.outcome.n_pieces == (1 if task == "sentence-similarity" else 2)


@pytest.mark.parametrize(("changes", "error", "sentence"), [
    ({"preset": "leen"}, UnknownName, "leen"),
    ({"frozen": "trunk"}, InvalidConfig, "do not go with method 'lora'"),
    ({"method": "full", "preset": "lean", "rank": None}, InvalidConfig, "do not go with method 'full'"),
    ({"upper_layers": 0}, InvalidConfig, "upper_layers is 0"),
])
def test_settings_that_do_not_go_together_are_refused(tiny_config: Callable[..., TrainConfig], changes: dict[str, str],
                                                      error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        tiny_config(**changes)


def test_more_upper_layers_than_there_are_is_an_error(deep_base: Base,
                                                      tiny_config: Callable[..., TrainConfig]) -> None:
    with pytest.raises(InvalidConfig, match="upper_layers is 9, the base has 4 layers"):
        built(tiny_config(upper_layers=9), deep_base)


@pytest.mark.parametrize(("frozen", "is_trained"), [("embeddings", {"encoder", "pooler", "classifier"}),
                                                    ("trunk", {"pooler", "classifier"})])
def test_frozen_parts_of_a_whole_model_are_not_trained(deep_base: Base, tiny_config: Callable[..., TrainConfig],
                                                       frozen: str, is_trained: set[str]) -> None:
    trained, _ = built(tiny_config(method="full", rank=None, frozen=frozen), deep_base)
    named = {name.removeprefix("bert.").split(".")[0] for name, value in trained.model.named_parameters()
             if value.requires_grad}
    assert named == is_trained
