"""What is converted to plain LoRA answers as the original within the error that is stated, and is served."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import (
    HRAConfig,
    IA3Config,
    LNTuningConfig,
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    OFTConfig,
    PromptTuningConfig,
    VeraConfig,
    get_peft_model,
)
from peft_folders import describe
from safetensors.torch import load_file
from stock import stock_model, stock_outputs
from tiny import intent_rows
from trained_folders import tampered
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from adapterhub import Registry, Runtime
from adapterhub.adapter.folder import read_files, read_folder
from adapterhub.bases.load import Base
from adapterhub.combining.convert import convert
from adapterhub.combining.made import Parent
from adapterhub.errors import AdapterHubError, InvalidFolder
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.settings import Settings

WriteStock = Callable[..., Path]
LAYERS = ["attention.self.query", "intermediate.dense"]
OPTIONS: dict[str, Any] = {"task_type": "SEQ_CLS", "target_modules": LAYERS, "modules_to_save": ["classifier"]}
TRAINED = {"loha": LoHaConfig(r=2, **OPTIONS), "lokr": LoKrConfig(r=2, **OPTIONS), "vera": VeraConfig(r=8, **OPTIONS)}
TEXTS = ("the visa is new", "where is my hotel", "loan please")


def any_parent(folder: Path) -> Parent:
    files = read_files(folder)
    return Parent(files=files, reference=f"sha256:{files.digest}")


@pytest.fixture(scope="module")
def trained(tiny_base_folder: Path, tiny_settings: Settings,
            tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Adapters that stock PEFT trained for a few steps, described by a manifest."""
    place = tmp_path_factory.mktemp("trained")
    return {name: train_stock(place / name, config, tiny_base_folder, tiny_settings)
            for name, config in TRAINED.items()}


def train_stock(folder: Path, config: Any, base_folder: Path, settings: Settings) -> Path:
    rows, tokenizer = intent_rows(3, 4), AutoTokenizer.from_pretrained(base_folder)
    labels = sorted({row["label"] for row in rows})
    encoded = tokenizer([row["text"] for row in rows], padding=True, return_tensors="pt")
    targets = torch.tensor([labels.index(row["label"]) for row in rows])
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        model = get_peft_model(AutoModelForSequenceClassification.from_pretrained(base_folder, num_labels=3), config)
        optimizer = torch.optim.AdamW([value for value in model.parameters() if value.requires_grad], lr=3e-2)
        for _ in range(8):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(**encoded).logits, targets).backward()
            optimizer.step()
        model.save_pretrained(str(folder))
    return describe(folder, base_folder, settings.cache, model, task="text-classification", labels=labels)


@pytest.mark.parametrize("rank", [4, 32])
@pytest.mark.parametrize("method", TRAINED)
def test_stated_difference_is_what_stock_peft_gives_for_both(method: str, rank: int, trained: dict[str, Path],
                                                            tiny_base: Base, tiny_base_folder: Path,
                                                            tmp_path: Path) -> None:
    made = convert(any_parent(trained[method]), rank, tiny_base, tmp_path / "made")
    how = made.manifest.combination
    assert how is not None
    assert how.output_difference is not None
    models = [stock_model(tiny_base_folder, "text-classification", 3, folder)
              for folder in (trained[method], made.path)]
    largest = difference = 0.0
    for row in made.manifest.probe:
        with torch.inference_mode():
            original, converted = (model(input_ids=torch.tensor([row.input_ids])).logits for model in models)
        largest = max(largest, float(original.abs().max()))
        difference = max(difference, float((original - converted).abs().max()))
    assert how.output_difference == pytest.approx(difference / largest, rel=1e-2, abs=1e-5)
    assert (how.method, how.action, made.config.r) == (method, "convert", rank)
    if rank == 32:  # as many as the smaller side of every layer
        assert how.relative_error < 1e-5


@pytest.mark.parametrize("method", TRAINED)
def test_converted_adapter_is_served_as_stock_peft_serves_the_original(method: str, trained: dict[str, Path],
                                                                      tiny_base: Base, tiny_base_folder: Path,
                                                                      tiny_settings: Settings, tmp_path: Path) -> None:
    made = convert(any_parent(trained[method]), 32, tiny_base, tmp_path / "made")
    registry = Registry(tmp_path / "registry")
    registry.publish(made.path, "test/converted")
    runtime = Runtime(str(tiny_base_folder), registry, settings=tiny_settings, config=RuntimeConfig(dtype="float32"))
    original = stock_model(tiny_base_folder, "text-classification", 3, trained[method])
    for text in TEXTS:
        scores = torch.softmax(stock_outputs(tiny_base_folder, original, text), dim=-1)
        answer = runtime.predict([("test/converted", text)])[0].result
        assert answer["label"] == made.manifest.labels[int(scores.argmax())]
        assert answer["score"] == pytest.approx(float(scores.max()), abs=1e-4)


@pytest.mark.parametrize("method", TRAINED)
def test_stated_error_of_a_layer_is_that_of_its_weight(method: str, trained: dict[str, Path], tiny_base: Base,
                                                       tiny_base_folder: Path, tmp_path: Path) -> None:
    made = convert(any_parent(trained[method]), 3, tiny_base, tmp_path / "made")
    models = [stock_model(tiny_base_folder, "text-classification", 3, folder)
              for folder in (trained[method], made.path)]
    name = "base_model.model.bert.encoder.layer.1.intermediate.dense"
    wanted, found = (dict(model.named_modules())[name].get_delta_weight("default").detach() for model in models)
    assert made.manifest.combination
    assert made.manifest.combination.layer_errors["encoder.layer.1.intermediate.dense"] == pytest.approx(
        float((wanted - found).norm() / wanted.norm()), rel=1e-3)


@pytest.mark.parametrize("config", [
    LoraConfig(r=4, use_dora=True, **OPTIONS), LoraConfig(r=4, init_lora_weights="pissa", **OPTIONS),
    LoraConfig(r=4, use_rslora=True, lora_alpha=3, rank_pattern={"layer.0.attention.self.query": 7}, **OPTIONS),
    HRAConfig(r=4, **OPTIONS), OFTConfig(oft_block_size=4, **OPTIONS),
    IA3Config(feedforward_modules=["intermediate.dense"], **OPTIONS),
], ids=["dora", "pissa", "patterns", "hra", "oft", "ia3"])
def test_methods_that_peft_merges_but_does_not_convert_are_whole_at_full_rank(config: Any, write: WriteStock,
                                                                              tiny_base: Base, tmp_path: Path) -> None:
    made = convert(any_parent(write(config, 7)), 32, tiny_base, tmp_path / "made")
    assert made.manifest.combination
    assert made.manifest.combination.output_difference is not None
    assert made.manifest.combination.relative_error < 1e-5
    assert made.manifest.combination.output_difference < 1e-4


def test_head_with_a_pooler_is_kept_under_its_own_name(write: WriteStock, tiny_base: Base, tmp_path: Path) -> None:
    folder = write(LoHaConfig(r=2, **OPTIONS | {"modules_to_save": ["classifier", "pooler"]}))
    made = convert(any_parent(folder), 8, tiny_base, tmp_path / "made")
    own, found = (load_file(place / "adapter_model.safetensors") for place in (folder, made.path))
    heads = [name for name in own if "classifier" in name or "pooler" in name]
    assert len(heads) == 4
    assert all(torch.equal(own[name], found[name]) for name in heads)


def test_lower_rank_of_a_plain_adapter_is_a_conversion_too(tiny_adapters: dict[str, Path], tiny_base: Base,
                                                           tmp_path: Path) -> None:
    def error(rank: int) -> float:
        made = convert(any_parent(tiny_adapters["pairs"]), rank, tiny_base, tmp_path / str(rank))
        assert made.manifest.combination
        return made.manifest.combination.relative_error
    assert error(8) < 1e-5 < error(4) < error(2) < 1.0


def test_manifest_and_card_name_parent_method_and_error(trained: dict[str, Path], tiny_base: Base,
                                                        tmp_path: Path) -> None:
    source = any_parent(trained["loha"])
    made = convert(source, 2, tiny_base, tmp_path / "made")
    card = made.files["README.md"].decode()
    assert made.manifest.parents == [source.reference]
    assert made.manifest.labels == source.files.manifest.labels
    assert made.manifest.metrics == []
    assert "Converted to plain LoRA of rank 2 from `loha`" in card
    assert source.reference in card
    assert "its outputs on the probe" in card


def refusal(folder: Path, base: Base, place: Path, rank: int = 4) -> str:
    with pytest.raises(AdapterHubError) as caught:
        convert(any_parent(folder), rank, base, place / "made")
    assert not list(place.glob("*made*"))
    return str(caught.value)


@pytest.mark.parametrize(("config", "told"), [
    (LNTuningConfig(task_type="SEQ_CLS", target_modules=["LayerNorm"]), "ln_tuning changes bert."),
    (PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=4), "PROMPT_TUNING adds tokens and changes no weight"),
    (LoraConfig(r=4, bias="lora_only", **OPTIONS), "which plain LoRA cannot hold"),
], ids=["norms", "prompt", "biases"])
def test_what_lora_cannot_hold_is_refused_by_name(config: Any, told: str, write: WriteStock, tiny_base: Base,
                                                  tmp_path: Path) -> None:
    assert told in refusal(write(config), tiny_base, tmp_path)


def test_rank_that_a_layer_cannot_have_is_refused(trained: dict[str, Path], tiny_base: Base, tmp_path: Path) -> None:
    for method in TRAINED:
        assert "rank is 33, the layer encoder.layer.0" in refusal(trained[method], tiny_base, tmp_path, 33)
    assert "rank is 0, expected at least 1" in refusal(trained["loha"], tiny_base, tmp_path, 0)


def test_tensors_that_peft_would_leave_out_are_refused(trained: dict[str, Path], tiny_base: Base,
                                                       tmp_path: Path) -> None:
    lost = "base_model.model.bert.encoder.layer.0.attention.self.query.hada_w1_a"

    def without(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: value for name, value in state.items() if name != lost}

    def renamed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name.replace("layer.0", "layer.7") if name == lost else name: value for name, value in state.items()}

    def broken(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: value * float("nan") if name == lost else value for name, value in state.items()}
    for name, change, told in (("lost", without, "hada_w1_a is missing"), ("broken", broken, "holds NaN or infinity"),
                               ("renamed", renamed, "hada_w1_a is unexpected")):
        place = tmp_path / name
        place.mkdir()
        assert told in refusal(tampered(trained["loha"], place / "source", change), tiny_base, place)


def test_another_base_is_refused(trained: dict[str, Path], tiny_base: Base, tmp_path: Path) -> None:
    source = any_parent(trained["loha"])
    facts = replace(source.files.manifest.base, fingerprint="0" * 64)
    moved = replace(source, files=replace(source.files, manifest=replace(source.files.manifest, base=facts)))
    with pytest.raises(AdapterHubError, match="was trained on base 000000000000"):
        convert(moved, 4, tiny_base, tmp_path / "made")


def test_runtime_refuses_the_original_with_the_command_that_converts_it(trained: dict[str, Path]) -> None:
    folder = trained["lokr"]
    with pytest.raises(InvalidFolder) as caught:
        read_folder(folder)
    assert str(caught.value).endswith(f"adapterhub convert {folder} --rank 16 --output {folder}-lora")
