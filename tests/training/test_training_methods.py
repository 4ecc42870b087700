"""A base becomes a model with a few trained tensors, for every encoder at hand; training on starts where it ended."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_folders import names_in
from tiny import tiny_tokenizer, write_tiny_base
from trained_folders import tampered, tensors_of
from transformers import (
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Model,
    RobertaConfig,
    RobertaModel,
)

from adapterhub.adapter.check import check_folder
from adapterhub.adapter.folder import FOLDER_FILES, read_folder
from adapterhub.bases.load import Base, load_base
from adapterhub.errors import BaseMismatch, DataError, InvalidConfig, InvalidFolder
from adapterhub.settings import Settings
from adapterhub.tasks.table import find_task
from adapterhub.training.config import TrainConfig
from adapterhub.training.methods import build_model, head_modules
from adapterhub.training.run import TrainResult
from adapterhub.training.targets import encoder_targets

Run = Callable[..., TrainResult]
LABELS = ["a", "b"]
SIZES: dict[str, Any] = {"vocab_size": len(tiny_tokenizer()), "max_position_embeddings": 66, "pad_token_id": 0}
BERT_SIZES: dict[str, Any] = {**SIZES, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
                              "intermediate_size": 48}
ENCODERS: dict[str, Callable[[], Any]] = {
    "distilbert": lambda: DistilBertModel(DistilBertConfig(**SIZES, dim=32, n_layers=2, n_heads=4, hidden_dim=48)),
    "roberta": lambda: RobertaModel(RobertaConfig(**BERT_SIZES, type_vocab_size=1)),
    "gpt2": lambda: GPT2Model(GPT2Config(vocab_size=len(tiny_tokenizer()), n_embd=32, n_layer=2, n_head=4,
                                         n_positions=66, pad_token_id=0)),
    "electra": lambda: ElectraModel(ElectraConfig(**BERT_SIZES, embedding_size=32)),
}


def test_head_alone_of_a_task_without_one_is_refused(tiny_base_folder: Path, tiny_settings: Settings) -> None:
    base = load_base(str(tiny_base_folder), cache=tiny_settings.cache)
    config = TrainConfig(task="sentence-similarity", data="rows", output=Path("out"), method="full", frozen="trunk")
    with pytest.raises(InvalidConfig, match="sentence-similarity has no head that could be trained alone"):
        build_model(config, base, find_task(config.task), [])


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(("task", "rows"), [("text-classification", "intents3"), ("token-classification", "entities"),
                                            ("sentence-similarity", "pairs")])
def test_other_encoders_are_trained_exported_and_proved(encoder: str, task: str, rows: str, run_tiny: Run,
                                                        tiny_rows: dict[str, Path], tiny_settings: Settings,
                                                        tmp_path: Path) -> None:
    torch.manual_seed(0)
    ENCODERS[encoder]().save_pretrained(tmp_path / encoder)
    tiny_tokenizer().save_pretrained(tmp_path / encoder)
    result = run_tiny(task=task, data=str(tiny_rows[rows]), base=str(tmp_path / encoder))
    assert result.folder
    folder = read_folder(result.folder)
    check_folder(folder, load_base(str(tmp_path / encoder), cache=tiny_settings.cache).shapes)
    heads = [key for key in tensors_of(result.folder) if "lora_" not in key]
    assert bool(heads) == (task != "sentence-similarity")
    assert names_in(result.folder) == sorted(FOLDER_FILES)


def test_pooler_is_trained_where_the_head_reads_it(tiny_base: Base, tiny_config: Callable[..., TrainConfig]) -> None:
    heads = {name: build_model(tiny_config(task=name), tiny_base, find_task(name), LABELS).head_modules
             for name in ("text-classification", "token-classification", "sentence-similarity")}
    assert heads == {"text-classification": ["classifier", "pooler"], "token-classification": ["classifier"],
                     "sentence-similarity": []}


def test_language_models_own_head_is_not_trained() -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=40, n_embd=32, n_layer=1, n_head=4))
    assert head_modules(model) == []
    assert encoder_targets(model) == ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"]


@pytest.mark.parametrize("rank", [1, 4])
def test_rank_decides_the_parameters(rank: int, tiny_base: Base, tiny_config: Callable[..., TrainConfig]) -> None:
    trained = build_model(tiny_config(rank=rank), tiny_base, find_task("text-classification"), LABELS)
    delta = 2 * rank * (4 * (32 + 32) + 2 * (32 + 48))  # two layers: four 32x32, one 32x48, one 48x32
    assert trained.n_trained == delta + (32 * 32 + 32) + (2 * 32 + 2)


def test_target_that_the_base_does_not_have_is_told_with_those_it_has(
        tiny_base: Base, tiny_config: Callable[..., TrainConfig]) -> None:
    with pytest.raises(InvalidConfig, match=r"named 'q_proj'\. It has classifier, dense, key, query, value"):
        build_model(tiny_config(targets="query,q_proj"), tiny_base, find_task("text-classification"), LABELS)


def test_one_target_given_as_text_is_one_name(run_tiny: Run) -> None:
    folder = run_tiny(targets="query").folder
    assert {key.split(".")[-3] for key in tensors_of(folder) if "lora_" in key} == {"query"}


def test_state_that_is_put_back_is_the_state(tiny_base: Base, tiny_config: Callable[..., TrainConfig]) -> None:
    trained = build_model(tiny_config(), tiny_base, find_task("text-classification"), LABELS)
    state = {name: torch.randn_like(value) for name, value in trained.state().items()}
    trained.put(state)
    assert all(torch.equal(value, state[name]) for name, value in trained.state().items())


@pytest.mark.parametrize("name", ["intents3", "entities", "pairs"])
def test_training_on_starts_from_the_parents_tensors(name: str, run_tiny: Run, tiny_adapters: dict[str, Path],
                                                     tiny_rows: dict[str, Path]) -> None:
    parent = read_folder(tiny_adapters[name])
    result = run_tiny(task=parent.manifest.task, data=str(tiny_rows[name]), rank=parent.config.r, learning_rate=1e-8,
                      continue_from=tiny_adapters[name], seed=4, weight_decay=0.0)
    before = tensors_of(tiny_adapters[name])
    for key, value in tensors_of(result.folder).items():
        assert torch.allclose(value, before[key].float(), atol=1e-6), key
    assert result.folder
    assert read_folder(result.folder).manifest.parents == [f"sha256:{parent.digest}"]


@pytest.mark.parametrize(("changes", "reason"), [
    ({"rank": 4}, r"has rank 8, this run has 4\. Give --rank 8"),
    ({"rank": 8, "targets": "query"}, r"has targets \['attention"),
], ids=["rank", "targets"])
def test_parent_of_another_make_is_refused(changes: dict[str, Any], reason: str, run_tiny: Run, tmp_path: Path,
                                           tiny_adapters: dict[str, Path]) -> None:
    with pytest.raises(InvalidConfig, match=reason):
        run_tiny(continue_from=tiny_adapters["intents3"], **changes)
    assert not (tmp_path / "out").exists()


def test_parent_of_another_task_is_refused(run_tiny: Run, tiny_adapters: dict[str, Path]) -> None:
    with pytest.raises(InvalidConfig, match="has task token-classification, this run has text-classification"):
        run_tiny(continue_from=tiny_adapters["entities"])


def test_parent_of_another_base_is_refused(run_tiny: Run, tiny_adapters: dict[str, Path], tmp_path: Path) -> None:
    other = write_tiny_base(tmp_path / "other", seed=9)
    with pytest.raises(BaseMismatch):
        run_tiny(base=str(other), rank=8, continue_from=tiny_adapters["intents3"])


def test_parent_that_is_broken_or_absent_is_refused(run_tiny: Run, tiny_adapters: dict[str, Path],
                                                    tmp_path: Path) -> None:
    broken = tampered(tiny_adapters["intents3"], tmp_path / "broken", lambda state: state)
    (broken / "adapter_model.safetensors").write_bytes(b"nothing")
    with pytest.raises(InvalidFolder):
        run_tiny(rank=8, continue_from=broken)
    with pytest.raises(DataError, match="No such adapter folder"):
        run_tiny(rank=8, continue_from=tmp_path / "absent")


def test_text_longer_than_the_base_reads_is_refused(run_tiny: Run) -> None:
    with pytest.raises(DataError, match=r"max_length is 100, the base reads at most 64 tokens\. Give --max-length 64"):
        run_tiny(max_length=100)
