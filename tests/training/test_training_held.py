"""Frozen weights held in bfloat16: the same steps to the bit, and nothing float32 left that is large."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from language_models import write_language_model
from torch import nn
from transformers.pytorch_utils import Conv1D

from adapterhub.bases.load import Base, load_base
from adapterhub.bases.processor import N_KEPT_KERNELS, keep_few_kernels
from adapterhub.tasks.table import find_task
from adapterhub.training.config import TrainConfig
from adapterhub.training.held import hold_frozen
from adapterhub.training.methods import TrainedModel, build_model
from adapterhub.training.run import TrainResult

LABELS = ["a", "b", "c"]
FAMILIES = ("bert", "llama", "gpt2", "t5")


@pytest.fixture
def base_of(tiny_base_folder: Path, tmp_path: Path) -> Callable[[str], Base]:
    """Load a base of a family."""
    def load(family: str) -> Base:
        folder = tiny_base_folder if family == "bert" else write_language_model(tmp_path / family, family)
        return load_base(str(folder), cache=tmp_path / "cache")
    return load


def config_for(tiny_config: Callable[..., TrainConfig], family: str, **changes: object) -> TrainConfig:
    task = {"bert": "text-classification", "t5": "text2text-generation"}.get(family, "text-generation")
    return tiny_config(task=task, dropout=0.0, **{"precision": "bfloat16", **changes})


def model_of(config: TrainConfig, base: Base) -> TrainedModel:
    torch.manual_seed(0)
    trained = build_model(config, base, find_task(config.task), LABELS)
    for name, value in trained.model.named_parameters():  # a zero B would hide what flows through A
        if "lora_B" in name:
            nn.init.normal_(value, std=0.05)
    return trained


def step_of(trained: TrainedModel, family: str) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return a step's outputs and its gradients, without dropout."""
    trained.model.eval()
    ids = torch.arange(5, 53).reshape(4, 12)
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if family == "t5":
        given["decoder_input_ids"] = ids[:, :6]
    with torch.autocast("cpu", torch.bfloat16):
        logits = trained.model(**given).logits
    logits.float().square().mean().backward()
    return logits, [value.grad for value in trained.parameters() if value.grad is not None]


@pytest.mark.parametrize("family", FAMILIES)
def test_held_base_gives_the_same_step_to_the_bit(family: str, base_of: Callable[[str], Base],
                                                  tiny_config: Callable[..., TrainConfig]) -> None:
    config, base = config_for(tiny_config, family), base_of(family)
    plain, held = model_of(config, base), model_of(config, base)
    for module in plain.model.modules():  # embeddings alone are rounded where autocast would not round
        if isinstance(module, nn.Embedding):
            module.weight.data = module.weight.data.bfloat16().float()
    assert hold_frozen(config, held)
    (expected, gradients), (found, held_gradients) = step_of(plain, family), step_of(held, family)
    assert torch.equal(found, expected)
    assert len(held_gradients) == len(gradients) > 4
    assert all(map(torch.equal, held_gradients, gradients))


@pytest.mark.parametrize("family", FAMILIES)
def test_no_frozen_matrix_is_left_in_float32(family: str, base_of: Callable[[str], Base],
                                             tiny_config: Callable[..., TrainConfig]) -> None:
    config = config_for(tiny_config, family)
    trained = model_of(config, base_of(family))
    assert hold_frozen(config, trained)
    kinds = nn.Linear | Conv1D | nn.Embedding
    matrices = [module.weight for module in trained.model.modules() if isinstance(module, kinds)]
    assert {value.dtype for value in matrices if not value.requires_grad} == {torch.bfloat16}
    assert {value.dtype for value in trained.parameters()} == {torch.float32}


@pytest.mark.parametrize("changes", [{"precision": "float32"}, {"method": "full"}], ids=str)
def test_what_computes_in_float32_or_trains_everything_stays(changes: dict[str, object], tiny_base: Base,
                                                             tiny_config: Callable[..., TrainConfig]) -> None:
    config = config_for(tiny_config, "bert", **changes)
    trained = model_of(config, tiny_base)
    assert not hold_frozen(config, trained)
    assert {value.dtype for value in trained.model.parameters()} == {torch.float32}


def test_models_that_processes_share_out_stay(tiny_base: Base, tiny_config: Callable[..., TrainConfig],
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    config = config_for(tiny_config, "bert")
    assert not hold_frozen(config, model_of(config, tiny_base))


@pytest.mark.parametrize("changes", [{}, {"method": "adalora", "rank": 4}, {"method": "pissa"}, {"method": "dora"}],
                         ids=str)
def test_folder_of_a_held_run_is_what_a_float32_reload_gives(changes: dict[str, object],
                                                             run_tiny: Callable[..., TrainResult]) -> None:
    result = run_tiny(precision="bfloat16", epochs=12, patience=12, **changes)  # its export holds it to a reload
    assert result.evaluation.metrics["accuracy"] > 0.5
    assert result.folder


def test_few_kernels_are_kept_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LRU_CACHE_CAPACITY", raising=False)
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "1000")
    keep_few_kernels()
    assert os.environ["LRU_CACHE_CAPACITY"] == str(N_KEPT_KERNELS)
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "1000"
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "")  # so that what was set here goes with this test
