"""Merged adapters are what PEFT's merge gives, say how far they are from the sum, and carry no figure over."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapter_folders import write_adapter_folder
from peft import IA3Config, LoraConfig, PeftModel
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file
from stock import stock_model
from transformers import AutoModelForSequenceClassification

from adapterhub.adapter.folder import AdapterFolder, read_folder
from adapterhub.adapter.manifest import parse_manifest
from adapterhub.bases.load import Base
from adapterhub.combining.made import Parent
from adapterhub.combining.merge import METHODS, MergeConfig, merge
from adapterhub.errors import AdapterHubError, BaseMismatch, DataError, InvalidConfig, UnknownName
from adapterhub.tasks.task import Evaluation

WriteStock = Callable[..., Path]
AsParent = Callable[[Path], Parent]
QUERY, VALUE, UP = "attention.self.query", "attention.self.value", "intermediate.dense"
HEAD = ["classifier", "pooler"]
PLAIN = LoraConfig(task_type="SEQ_CLS", r=4, target_modules=[QUERY, VALUE, UP], modules_to_save=HEAD)
ROOTED = replace(PLAIN, lora_alpha=3, use_rslora=True, target_modules=[QUERY, VALUE],
                 rank_pattern={"layer.1.attention.self.query": 2})


@pytest.fixture(scope="module")
def pair(write: WriteStock, parent: AsParent) -> tuple[Parent, Parent]:
    """Two adapters of one rank, with other targets, scalings, rsLoRA and a pattern."""
    return parent(write(ROOTED, 1)), parent(write(PLAIN, 2))


def full_changes(base_folder: Path, folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base = AutoModelForSequenceClassification.from_pretrained(base_folder, num_labels=3)
        model = PeftModel.from_pretrained(base, str(folder)).double()
    return {name.removeprefix("base_model.model.bert."): module.get_delta_weight("default").detach().numpy()
            for name, module in model.named_modules() if isinstance(module, LoraLayer)}


@pytest.mark.parametrize("method", METHODS)
def test_stated_error_is_that_of_the_full_weights(method: str, pair: tuple[Parent, Parent], tiny_base: Base,
                                                  tiny_base_folder: Path, tmp_path: Path) -> None:
    weights = (0.7, 0.3)
    made = merge(pair, MergeConfig(weights=weights, method=method, seed=3), tiny_base, tmp_path / "made")
    how = made.manifest.combination
    assert how is not None
    parents = [full_changes(tiny_base_folder, one.files.path) for one in pair]
    found = full_changes(tiny_base_folder, made.path)
    assert found.keys() == how.layer_errors.keys() == parents[0].keys() | parents[1].keys()
    wanted = {layer: sum(weight * one.get(layer, np.zeros_like(change)) for weight, one in zip(weights, parents,
                                                                                               strict=True))
              for layer, change in found.items()}
    for layer, change in found.items():
        error = np.linalg.norm(change - wanted[layer]) / np.linalg.norm(wanted[layer])
        assert how.layer_errors[layer] == pytest.approx(error, rel=1e-3, abs=1e-6)
    whole = (np.sqrt(sum(np.linalg.norm(change - wanted[layer]) ** 2 for layer, change in found.items()))
             / np.sqrt(sum(np.linalg.norm(change) ** 2 for change in wanted.values())))
    assert how.relative_error == pytest.approx(whole, rel=1e-3, abs=1e-6)
    assert (how.relative_error < 1e-6) == (method == "cat")


def test_best_of_a_rank_is_nearer_than_adding_factors(pair: tuple[Parent, Parent], tiny_base: Base,
                                                      tmp_path: Path) -> None:
    def error(method: str, rank: int | None) -> float:
        made = merge(pair, MergeConfig(weights=(1.0, 1.0), method=method, rank=rank), tiny_base,
                     tmp_path / f"{method}{rank}")
        assert made.manifest.combination
        return made.manifest.combination.relative_error
    assert error("svd", 8) < 1e-6 < error("svd", 6) < error("svd", 4) < error("linear", None)


def test_merge_of_one_adapter_with_itself_answers_as_that_one(tiny_adapters: dict[str, Path], parent: AsParent,
                                                              tiny_base: Base, tiny_base_folder: Path,
                                                              tmp_path: Path) -> None:
    one = parent(tiny_adapters["query-only"])
    made = merge([one, one], MergeConfig(weights=(0.5, 0.5)), tiny_base, tmp_path / "made")
    for row in one.files.manifest.probe:
        tokens = torch.tensor([row.input_ids])
        answers = [stock_model(tiny_base_folder, "text-classification", 3, folder)(input_ids=tokens).logits
                   for folder in (made.path, one.files.path)]
        assert torch.allclose(*answers, atol=1e-4)


def test_heads_are_averaged_by_the_shares_of_the_weights(pair: tuple[Parent, Parent], tiny_base: Base,
                                                         tmp_path: Path) -> None:
    made = merge(pair, MergeConfig(weights=(3.0, 1.0)), tiny_base, tmp_path / "made")
    name = "base_model.model.bert.pooler.dense.weight"
    one, two, found = (load_file(folder / "adapter_model.safetensors")[name]
                       for folder in (pair[0].files.path, pair[1].files.path, made.path))
    assert torch.allclose(found, 0.75 * one + 0.25 * two, atol=1e-6)


def test_head_task_and_labels_of_one_adapter_may_be_taken(tiny_adapters: dict[str, Path], parent: AsParent,
                                                          tiny_base: Base, tmp_path: Path) -> None:
    parents = [parent(tiny_adapters[name]) for name in ("query-only", "intents5", "entities")]
    made = merge(parents, MergeConfig(weights=(0.2, 1.0, -0.1), head_from=1), tiny_base, tmp_path / "made")
    assert made.manifest.task == "text-classification"
    assert made.manifest.labels == parents[1].files.manifest.labels
    assert made.manifest.combination
    assert made.manifest.combination.head_from == parents[1].reference
    assert made.manifest.combination.relative_error < 1e-6
    head = load_file(made.path / "adapter_model.safetensors")["base_model.model.classifier.weight"]
    own = load_file(tiny_adapters["intents5"] / "adapter_model.safetensors")["base_model.model.classifier.weight"]
    assert torch.equal(head, own)


def test_merge_for_a_task_without_a_head_has_none(tiny_adapters: dict[str, Path], parent: AsParent, tiny_base: Base,
                                                  tmp_path: Path) -> None:
    parents = [parent(tiny_adapters[name]) for name in ("pairs", "query-only")]
    config = MergeConfig(weights=(1.0, 0.3), head_from=0, method="svd")
    made = merge(parents, config, tiny_base, tmp_path / "made")
    assert (made.manifest.task, made.manifest.head.modules) == ("sentence-similarity", [])
    names = load_file(made.path / "adapter_model.safetensors")
    assert all(name.startswith("base_model.model.encoder.") for name in names)


def test_manifest_and_card_name_parents_weights_method_and_error(pair: tuple[Parent, Parent], tiny_base: Base,
                                                                 tmp_path: Path) -> None:
    made = merge(pair, MergeConfig(weights=(0.7, 0.3), method="svd"), tiny_base, tmp_path / "made")
    manifest, card = made.manifest, made.files["README.md"].decode()
    assert manifest.parents == [one.reference for one in pair]
    assert manifest.format == 2
    assert parse_manifest(made.files["adapterhub.json"], "made").combination == manifest.combination
    for told in (*manifest.parents, "weight 0.7", "`svd`", "encoder.layer.0.attention.self.query", "averaged"):
        assert told in card
    assert manifest.combination
    assert f"{manifest.combination.relative_error:.2e}" in card
    assert str(tmp_path) not in card


def test_figures_of_the_parents_are_not_carried_over(tiny_adapters: dict[str, Path], parent: AsParent, tiny_base: Base,
                                                     tmp_path: Path) -> None:
    parents = [parent(tiny_adapters[name]) for name in ("intents3", "query-only")]
    assert all(one.files.manifest.metrics for one in parents)
    made = merge(parents, MergeConfig(weights=(0.5, 0.5), method="svd"), tiny_base, tmp_path / "made")
    assert made.manifest.metrics == []
    assert made.manifest.data.n_rows == {}
    assert "not measured on rows" in made.files["README.md"].decode()


def test_given_rows_measure_the_merged_adapter_itself(tiny_adapters: dict[str, Path], parent: AsParent,
                                                      tiny_base: Base, tmp_path: Path) -> None:
    seen: list[str] = []

    def measure(folder: AdapterFolder) -> Evaluation:
        seen.append(folder.digest)
        return Evaluation(metrics={"accuracy": 0.625}, n_rows=8)
    parents = [parent(tiny_adapters[name]) for name in ("intents3", "query-only")]
    made = merge(parents, MergeConfig(weights=(0.5, 0.5), method="svd"), tiny_base, tmp_path / "made", measure)
    assert len(seen) == 1
    assert seen[0] not in {one.files.digest for one in parents}
    assert made.manifest.metric("accuracy") == 0.625
    assert "0.6250" in made.files["README.md"].decode()


def test_same_seed_drops_the_same_values(pair: tuple[Parent, Parent], tiny_base: Base, tmp_path: Path) -> None:
    def tensors(name: str, seed: int) -> bytes:
        config = MergeConfig(weights=(1.0, 1.0), method="dare_linear", density=0.5, seed=seed)
        return merge(pair, config, tiny_base, tmp_path / name).files["adapter_model.safetensors"]
    assert tensors("a", 1) == tensors("b", 1) != tensors("c", 2)


@pytest.mark.parametrize(("config", "fault"), [
    ({"weights": (1.0, 1.0), "method": "liner"}, "Unknown merge method 'liner'"),
    ({"weights": (0.0, 0.0)}, r"weights are \[0.0, 0.0\], expected finite numbers, not all zero"),
    ({"weights": (float("nan"), 1.0)}, "expected finite numbers"),
    ({"weights": (1.0, 1.0), "density": 0.0}, "density is 0.0, expected above 0"),
    ({"weights": (1.0, 1.0), "rank": 4}, "rank is 4 for cat, which has its rank from the adapters"),
    ({"weights": (1.0, 1.0), "method": "svd", "rank": 0}, "needs at least 1"),
])
def test_settings_that_no_adapters_fit_are_refused(config: dict[str, Any], fault: str) -> None:
    with pytest.raises((InvalidConfig, UnknownName), match=fault):
        MergeConfig(**config)


def refusal(parents: list[Parent], base: Base, place: Path, **config: Any) -> str:
    weights = config.pop("weights", (1.0,) * len(parents))
    with pytest.raises(AdapterHubError) as caught:
        merge(parents, MergeConfig(weights=weights, **config), base, place / "made")
    assert not list(place.glob("*made*"))
    return str(caught.value)


def test_adapters_that_do_not_fit_each_other_are_refused(tiny_adapters: dict[str, Path], parent: AsParent,
                                                         tiny_base: Base, tmp_path: Path) -> None:
    three, five, pairs = (parent(tiny_adapters[name]) for name in ("intents3", "intents5", "pairs"))
    assert "different labels: food, sport in one only" in refusal([three, five], tiny_base, tmp_path)
    assert "--head-from" in refusal([three, five], tiny_base, tmp_path)
    assert "is for text-classification" in refusal([three, pairs], tiny_base, tmp_path)
    assert "1 adapter is given" in refusal([three], tiny_base, tmp_path)
    assert "3 weights for 2 adapters" in refusal([three, three], tiny_base, tmp_path, weights=(1.0, 1.0, 1.0))
    assert "add up to 0" in refusal([three, three], tiny_base, tmp_path, weights=(1.0, -1.0))
    ranks = refusal([three, five], tiny_base, tmp_path, head_from=0, method="linear")
    assert "Method linear needs equal ranks" in ranks
    assert f"{five.reference} 2" in ranks
    assert "Of rank 16 it would have" in refusal([three, three], tiny_base, tmp_path)
    assert "smallest layer has 32" in refusal([three, three], tiny_base, tmp_path, method="svd", rank=33)


def test_adapters_of_different_bases_are_refused(tiny_adapters: dict[str, Path], parent: AsParent, tiny_base: Base,
                                                 tmp_path: Path) -> None:
    other = parent(write_adapter_folder(tmp_path / "other"))
    with pytest.raises(BaseMismatch, match="was trained on base ffffffffffff"):
        merge([parent(tiny_adapters["intents3"]), other], MergeConfig(weights=(1.0, 1.0)), tiny_base,
              tmp_path / "made")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(("config", "told"), [
    (replace(PLAIN, use_dora=True), "is DoRA, which cannot be merged: DoRA's change depends on the base's weights"),
    (replace(PLAIN, init_lora_weights="pissa"), "a start by pissa"),
    (replace(PLAIN, bias="lora_only"), "trained biases"),
    (IA3Config(task_type="SEQ_CLS", target_modules=[QUERY, UP], feedforward_modules=[UP]), "is IA3, which cannot be"),
])
def test_methods_that_cannot_be_merged_are_refused_by_name(config: Any, told: str, write: WriteStock, parent: AsParent,
                                                           tiny_base: Base, tmp_path: Path) -> None:
    sentence = refusal([parent(write(PLAIN, 2)), parent(write(config, 3))], tiny_base, tmp_path)
    assert told in sentence
    assert "adapterhub convert ADAPTER --rank 16 --output FOLDER" in sentence


def test_taken_output_is_left_alone(pair: tuple[Parent, Parent], tiny_base: Base, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="exists already"):
        merge(pair, MergeConfig(weights=(1.0, 1.0)), tiny_base, tmp_path / "made")
    assert (tmp_path / "made" / "notes.txt").read_text() == "mine"


def test_half_precision_parents_make_a_half_precision_adapter(tiny_adapters: dict[str, Path], parent: AsParent,
                                                              tiny_base: Base, tmp_path: Path) -> None:
    one = parent(tiny_adapters["entities"])
    made = merge([one, one], MergeConfig(weights=(0.6, 0.6)), tiny_base, tmp_path / "made")
    assert made.manifest.method.dtype == "float16"
    assert made.manifest.combination
    assert 0 < made.manifest.combination.relative_error < 1e-3
    assert read_folder(made.path).manifest == made.manifest
    large = merge([one, one], MergeConfig(weights=(1e6, 1e6)), tiny_base, tmp_path / "large")
    assert large.manifest.method.dtype == "float32"  # float16 ends at 65,504
