"""What `diff` says of two changes is what their full weights say, formed by stock PEFT."""

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapter_folders import MODULES, Corruption, write_adapter_folder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft import IA3Config, LoraConfig, PeftModel
from peft.tuners.lora import LoraLayer
from transformers import AutoModelForSequenceClassification

from adapterhub.adapter.folder import read_folder
from adapterhub.combining.diff import diff

WriteStock = Callable[..., Path]
QUERY, VALUE, UP = "attention.self.query", "attention.self.value", "intermediate.dense"


def stock_changes(base_folder: Path, folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Form each layer's change by PEFT's own get_delta_weight, in float64."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base = AutoModelForSequenceClassification.from_pretrained(base_folder, num_labels=3)
        model = PeftModel.from_pretrained(base, str(folder)).double()
    return {name.removeprefix("base_model.model."): module.get_delta_weight("default").detach().numpy()
            for name, module in model.named_modules() if isinstance(module, LoraLayer)}


@st.composite
def lora_configs(draw: st.DrawFn) -> LoraConfig:
    return LoraConfig(task_type="SEQ_CLS", r=draw(st.sampled_from([1, 2, 5])), lora_alpha=draw(st.sampled_from([1, 7])),
                      target_modules=draw(st.sampled_from([[QUERY], [VALUE, UP], [QUERY, VALUE, UP]])),
                      use_rslora=draw(st.booleans()), rank_pattern=draw(st.sampled_from([{}, {QUERY: 3}])),
                      alpha_pattern=draw(st.sampled_from([{}, {VALUE: 4}])))


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(first=lora_configs(), second=lora_configs(), seed=st.integers(0, 1))
def test_norms_and_cosines_are_those_of_the_full_weights(first: LoraConfig, second: LoraConfig, seed: int,
                                                        write: WriteStock, tiny_base_folder: Path) -> None:
    folders = write(first), write(second, seed)
    found = diff(*map(read_folder, folders))
    one, two = (stock_changes(tiny_base_folder, folder) for folder in folders)
    assert {line.layer for line in found.layers} == one.keys() | two.keys()
    for line in found.layers:
        shape = (one.get(line.layer, two.get(line.layer)),)[0].shape
        a, b = one.get(line.layer, np.zeros(shape)), two.get(line.layer, np.zeros(shape))
        assert (line.first_norm, line.second_norm) == pytest.approx((np.linalg.norm(a), np.linalg.norm(b)), rel=1e-6)
        assert line.difference_norm == pytest.approx(np.linalg.norm(a - b), rel=1e-6, abs=1e-6)
        expected = None if not (a.any() and b.any()) else (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)
        assert line.cosine == (None if expected is None else pytest.approx(expected, abs=1e-6))
    whole = [np.concatenate([changes.get(layer, np.zeros_like(one.get(layer, two.get(layer)))).ravel()
                             for layer in sorted(one.keys() | two.keys())]) for changes in (one, two)]
    assert found.whole is not None
    assert found.whole.difference_norm == pytest.approx(np.linalg.norm(whole[0] - whole[1]), rel=1e-6, abs=1e-6)


def test_an_adapter_does_not_differ_from_itself(tiny_adapters: dict[str, Path]) -> None:
    found = diff(read_folder(tiny_adapters["intents3"]), read_folder(tiny_adapters["intents3"]))
    assert found.settings == ()
    assert found.whole is not None
    assert found.whole.cosine == pytest.approx(1.0)
    assert found.whole.difference_norm < 1e-6 * found.whole.first_norm
    assert all(head.largest == 0.0 for head in found.heads)


def test_layers_that_differ_most_come_first(tiny_adapters: dict[str, Path]) -> None:
    found = diff(read_folder(tiny_adapters["intents3"]), read_folder(tiny_adapters["query-only"]))
    norms = [line.difference_norm for line in found.layers]
    assert norms == sorted(norms, reverse=True)
    assert any(line.second_norm == 0.0 and line.cosine is None for line in found.layers)


def test_models_with_and_without_a_head_name_the_same_layers(tiny_adapters: dict[str, Path]) -> None:
    for pair in (("intents3", "pairs"), ("pairs", "intents3")):
        found = diff(*(read_folder(tiny_adapters[name]) for name in pair))
        assert all(line.cosine is not None for line in found.layers)


def test_settings_labels_figures_and_heads_are_told(tiny_adapters: dict[str, Path]) -> None:
    found = diff(read_folder(tiny_adapters["intents3"]), read_folder(tiny_adapters["intents5"]))
    by_name = {setting.name: (setting.first, setting.second) for setting in found.settings}
    assert by_name["config.r"] == (8, 2)
    assert (found.only_first_labels, found.only_second_labels) == ((), ("food", "sport"))
    assert {(figure.name, figure.split) for figure in found.figures} >= {("accuracy", "test"), ("macro_f1", "test")}
    heads = {head.name: head for head in found.heads}
    assert heads["classifier.weight"].largest is None
    assert heads["classifier.weight"].first_shape == (3, 32)
    largest = heads["bert.pooler.dense.weight"].largest
    assert largest is not None
    assert largest > 0


def test_dora_is_named_and_the_rest_still_compared(write: WriteStock) -> None:
    config = LoraConfig(task_type="SEQ_CLS", r=2, target_modules=[QUERY])
    found = diff(read_folder(write(config)), read_folder(write(replace(config, use_dora=True))))
    assert found.whole is None
    assert "the second is DoRA: DoRA's change depends on the base's weights" in found.not_compared
    assert found.heads


def test_pissa_and_trained_biases_are_named(write: WriteStock) -> None:
    pissa = LoraConfig(task_type="SEQ_CLS", r=2, target_modules=[QUERY], init_lora_weights="pissa")
    biases = LoraConfig(task_type="SEQ_CLS", r=2, target_modules=[QUERY], bias="lora_only")
    told = " ".join(diff(read_folder(write(pissa)), read_folder(write(biases))).not_compared)
    assert "a start by pissa" in told
    assert "trained biases" in told


def test_scales_of_ia3_are_compared_as_diagonals(write: WriteStock) -> None:
    config = IA3Config(task_type="SEQ_CLS", target_modules=[QUERY, UP], feedforward_modules=[UP])
    first, second = read_folder(write(config)), read_folder(write(config, 1))
    found = diff(first, second)
    from safetensors.torch import load

    layer = "bert.encoder.layer.1.attention.self.query"
    vectors = [load(folder.files["adapter_model.safetensors"])[f"base_model.model.{layer}.ia3_l"].double() - 1
               for folder in (first, second)]
    line = next(line for line in found.layers if line.layer == layer)
    assert (line.first_norm, line.second_norm) == pytest.approx([float(vector.norm()) for vector in vectors])
    assert line.difference_norm == pytest.approx(float((vectors[0] - vectors[1]).norm()))
    assert line.cosine == pytest.approx(float(torch.nn.functional.cosine_similarity(*(v.flatten() for v in vectors),
                                                                                    dim=0)))
    assert any(line.layer.endswith("(inputs)") for line in found.layers)


def test_different_methods_and_bases_have_no_distance(write: WriteStock, tmp_path: Path) -> None:
    lora = write(LoraConfig(task_type="SEQ_CLS", r=2, target_modules=[QUERY]))
    scales = write(IA3Config(task_type="SEQ_CLS", target_modules=[QUERY, UP], feedforward_modules=[UP]))
    assert "convert them to LoRA" in diff(read_folder(lora), read_folder(scales)).not_compared[-1]
    found = diff(read_folder(lora), read_folder(write_adapter_folder(tmp_path / "other")))
    assert found.whole is None
    assert "different bases" in found.not_compared[-1]


def test_layers_of_unequal_shape_are_not_compared(tmp_path: Path) -> None:
    def wider(tensors: dict[str, Any]) -> dict[str, Any]:
        return {name: np.concatenate([array, array], axis=1) if name.endswith("lora_A.weight") else array
                for name, array in tensors.items()}
    first = write_adapter_folder(tmp_path / "a")
    second = write_adapter_folder(tmp_path / "b", corruption=Corruption(tensors=wider))
    assert diff(read_folder(first), read_folder(second)).not_compared == (
        f"the layer {MODULES[0]} has different shapes in the two",)


def test_json_of_a_difference_is_plain(tiny_adapters: dict[str, Path]) -> None:
    from dataclasses import asdict

    found = diff(read_folder(tiny_adapters["intents3"]), read_folder(tiny_adapters["intents5"]))
    assert json.loads(json.dumps(asdict(found)))["whole"]["layer"] == "all layers"
