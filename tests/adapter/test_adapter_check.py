"""What stock PEFT only warns of, or keeps silent about, is refused with its reason."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from adapter_folders import (
    FINGERPRINT,
    MODULES,
    Corruption,
    Tensors,
    adapter_tensors,
    base_shapes,
    write_adapter_folder,
)

from adapterhub.adapter.check import check_folder
from adapterhub.adapter.folder import read_folder
from adapterhub.adapter.peft_config import PREFIX
from adapterhub.errors import BaseMismatch, InvalidFolder

A0 = f"{PREFIX}{MODULES[0]}.lora_A.weight"
B0 = f"{PREFIX}{MODULES[0]}.lora_B.weight"
HEAD = f"{PREFIX}classifier.weight"


def without(key: str) -> Corruption:
    return Corruption(tensors=lambda tensors: {name: array for name, array in tensors.items() if name != key})


def with_tensor(key: str, array: np.ndarray) -> Corruption:
    return Corruption(tensors=lambda tensors: tensors | {key: array})


def scaled(suffix: str, factor: float) -> Corruption:
    def scale(tensors: Tensors) -> Tensors:
        return {name: (array * factor if name.endswith(suffix) else array).astype("f4")
                for name, array in tensors.items()}
    return Corruption(tensors=scale)


FAULTS = {
    "missing A": (without(A0), "lora_A.weight is missing"),
    "missing B": (without(B0), "lora_B.weight is missing"),
    "missing head": (Corruption(tensors=lambda t: {k: v for k, v in t.items() if "classifier" not in k}),
                     "module classifier has no tensor"),
    "unexpected tensor": (with_tensor(f"{PREFIX}bert.pooler.dense.weight", np.ones((8, 8), "f4")), "is unexpected"),
    "foreign prefix": (with_tensor("model.classifier.weight", np.ones((3, 8), "f4")), "does not start with"),
    "no target": (Corruption(tensors=lambda t: t | {
        f"{PREFIX}bert.pooler.lora_A.weight": np.ones((2, 8), "f4"),
        f"{PREFIX}bert.pooler.lora_B.weight": np.ones((8, 2), "f4")}), "is no target module"),
    "another rank": (with_tensor(A0, np.ones((3, 8), "f4")), "expected rank 2"),
    "wrong dimensions": (with_tensor(A0, np.ones(8, "f4")), "expected rank 2"),
    "NaN": (with_tensor(A0, np.full((2, 8), np.nan, "f4")), "holds NaN or infinity"),
    "infinity": (with_tensor(HEAD, np.full((3, 8), np.inf, "f4")), "holds NaN or infinity"),
    "untrained delta": (scaled("lora_B.weight", 0), "every lora_B is zero"),
    "empty head": (scaled("classifier.weight", 0), "is all zero"),
    "integers": (with_tensor(A0, np.ones((2, 8), "i8")), "expected a float"),
    "no delta at all": (Corruption(tensors=lambda t: {k: v for k, v in t.items() if "lora" not in k}),
                        "no LoRA tensor at all"),
    "head of other labels": (Corruption(manifest=lambda m: replace(m, labels=["a", "b"])), "the manifest has 2 labels"),
    "a label twice": (Corruption(manifest=lambda m: replace(m, labels=["a", "b", "a"])), "label 'a' stands twice"),
    "other saved modules": (Corruption(config={"modules_to_save": ["classifier", "pooler"]}), "modules_to_save"),
    "rank misstated": (Corruption(manifest=lambda m: replace(m, method=replace(m.method, rank=8))),
                       "the manifest says rank 8"),
    "parameters misstated": (Corruption(manifest=lambda m: replace(m, method=replace(m.method, n_parameters=1))),
                             "the manifest says 1 parameters"),
    "truncated": (Corruption(weights=lambda data: data[:-9]), "truncated or no safetensors"),
    "header lies about its length": (Corruption(weights=lambda data: (2**31).to_bytes(8, "little") + data[8:]),
                                     "truncated or no safetensors"),
    "empty file": (Corruption(weights=lambda data: b""), "truncated or no safetensors"),
    "DoRA without magnitudes": (Corruption(config={"use_dora": True}), "lora_magnitude_vector is missing"),
    "unknown kind of bias": (Corruption(config={"bias": "some"}), "bias 'some'"),
    "IA3 without its vectors": (Corruption(config={"peft_type": "IA3"}), "ia3_l is missing"),
    "another method": (Corruption(config={"peft_type": "LOHA"}), "method LOHA is not served, expected LORA or IA3"),
    "trained tokens": (Corruption(config={"trainable_token_indices": [3]}), "trainable_token_indices"),
    "rank zero": (Corruption(config={"r": 0}), "rank 0"),
    "alpha not finite": (Corruption(config={"lora_alpha": float("nan")}), "lora_alpha nan"),
    "no target module named": (Corruption(config={"target_modules": []}), "names no target module"),
    "broken target pattern": (Corruption(config={"target_modules": "(query"}), "'(query' is no regular expression"),
    "broken rank pattern": (Corruption(config={"rank_pattern": {"[": 4}}), "'[' is no regular expression"),
    "config without rank": (Corruption(config={"r": None}), "r: "),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faulty_content_is_refused_with_its_reason(name: str, tmp_path: Path) -> None:
    corruption, reason = FAULTS[name]
    folder = write_adapter_folder(tmp_path / "a", corruption=corruption)
    with pytest.raises(InvalidFolder) as caught:
        check_folder(read_folder(folder), base_shapes())
    assert reason in str(caught.value)


def test_valid_folder_gives_its_tensors(tmp_path: Path) -> None:
    tensors = check_folder(read_folder(write_adapter_folder(tmp_path / "a", seed=3)), base_shapes())
    expected = adapter_tensors(3)
    assert set(tensors.delta_a) == set(tensors.delta_b) == set(MODULES)
    assert np.array_equal(tensors.delta_a[MODULES[0]], expected[A0])
    assert np.array_equal(tensors.head["classifier.weight"], expected[HEAD])


def test_adapter_without_head_is_valid(tmp_path: Path) -> None:
    folder = write_adapter_folder(tmp_path / "a", labels=(), task="sentence-similarity")
    assert check_folder(read_folder(folder), base_shapes()).head == {}


def test_another_base_is_refused_with_both_short_fingerprints(tmp_path: Path) -> None:
    folder = read_folder(write_adapter_folder(tmp_path / "a"))
    with pytest.raises(BaseMismatch) as caught:
        check_folder(folder, base_shapes(fingerprint="0123456789abcdef" * 4))
    assert FINGERPRINT[:12] in str(caught.value)
    assert "0123456789ab" in str(caught.value)


def test_base_without_an_adapted_module_is_refused(tmp_path: Path) -> None:
    folder = read_folder(write_adapter_folder(tmp_path / "a"))
    with pytest.raises(InvalidFolder, match=r"the base has no module encoder\.layer\.1"):
        check_folder(folder, base_shapes(n_layers=1))


def test_base_of_another_width_is_refused(tmp_path: Path) -> None:
    folder = read_folder(write_adapter_folder(tmp_path / "a"))
    with pytest.raises(InvalidFolder, match=r"the base's is \[16, 16\]"):
        check_folder(folder, base_shapes(hidden=16))


def test_target_of_the_base_without_tensors_is_refused(tmp_path: Path) -> None:
    folder = read_folder(write_adapter_folder(tmp_path / "a"))
    with pytest.raises(InvalidFolder, match=r"tensors of target encoder\.layer\.2\S* are missing"):
        check_folder(folder, base_shapes(n_layers=3))


def test_faults_are_told_together(tmp_path: Path) -> None:
    both = Corruption(tensors=lambda tensors: without(A0).tensors(tensors) | {"x": np.ones(1, "f4")})
    with pytest.raises(InvalidFolder) as caught:
        check_folder(read_folder(write_adapter_folder(tmp_path / "a", corruption=both)))
    assert len(caught.value.faults) >= 2
