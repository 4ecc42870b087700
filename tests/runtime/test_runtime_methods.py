"""Every method that users bring gives what stock PEFT gives, or is refused by name."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import IA3Config, LoHaConfig, LoraConfig, VeraConfig
from peft_folders import LABELS, write_peft_folder
from stock import stock_model

from adapterhub.adapter.folder import read_folder
from adapterhub.bases.load import load_base
from adapterhub.errors import InvalidFolder
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.shared_base import SharedBase
from adapterhub.settings import Settings
from adapterhub.tasks.batch import collate
from adapterhub.tasks.task import Example, TokenSequence

TOLERANCE = 1e-5
"""float32 sums in another order, relative to logits of unit scale."""
QUERY_VALUE = ["query", "value"]
LORA: dict[str, Any] = {"task_type": "SEQ_CLS", "r": 4, "target_modules": QUERY_VALUE, "lora_alpha": 6}
METHODS = {
    "lora": LoraConfig(**LORA),
    "rank and alpha patterns": LoraConfig(**LORA | {"target_modules": "all-linear"},
                                          rank_pattern={"layer.0.attention.self.query": 2, "output.dense": 8},
                                          alpha_pattern={"layer.1.attention.self.value": 9}),
    "rslora": LoraConfig(**LORA, use_rslora=True),
    "every bias": LoraConfig(**LORA, bias="all"),
    "biases of targets": LoraConfig(**LORA, bias="lora_only"),
    "bias of B": LoraConfig(**LORA, lora_bias=True),
    "dora": LoraConfig(**LORA, use_dora=True),
    "dora with rslora": LoraConfig(**LORA | {"r": 3}, use_dora=True, use_rslora=True),
    "pissa": LoraConfig(**LORA, init_lora_weights="pissa"),
    "olora": LoraConfig(**LORA, init_lora_weights="olora"),
    "gaussian": LoraConfig(**LORA, init_lora_weights="gaussian"),
    "one layer": LoraConfig(**LORA, layers_to_transform=[1]),
    "excluded modules": LoraConfig(**LORA, exclude_modules=["layer.0.attention.self.query"]),
    "pattern of targets": LoraConfig(**LORA | {"target_modules": r".*layer\.1\..*(query|dense)"}),
    "ia3": IA3Config(task_type="SEQ_CLS", target_modules=["key", "value", "intermediate.dense"],
                     feedforward_modules=["intermediate.dense"]),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, tiny_base_folder: Path,
            tiny_settings: Settings) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("methods")
    return {name: write_peft_folder(place / name.replace(" ", "-"), tiny_base_folder, tiny_settings.cache, config,
                                    seed=seed) for seed, (name, config) in enumerate(METHODS.items())}


@pytest.fixture(scope="module")
def shared(tiny_base_folder: Path, tiny_settings: Settings) -> SharedBase:
    return SharedBase(load_base(str(tiny_base_folder), cache=tiny_settings.cache), RuntimeConfig(dtype="float32"))


SEQUENCES = [TokenSequence(input_ids=ids, token_type_ids=[0] * len(ids))
             for ids in ([2, 9, 12, 30, 3], [2, 8, 3], [2, 20, 21, 22, 23, 24, 25, 3])]


def stock(folder: Path, base_folder: Path) -> list[torch.Tensor]:
    model = stock_model(base_folder, "text-classification", len(LABELS), folder)
    with torch.inference_mode():
        return [model(**collate([sequence], 0)).logits[0] for sequence in SEQUENCES]


@pytest.mark.parametrize("name", METHODS)
def test_method_equals_stock_peft(name: str, folders: dict[str, Path], shared: SharedBase,
                                  tiny_base_folder: Path) -> None:
    folder = read_folder(folders[name])
    adapter = shared.adapters.find(folder.digest) or shared.adapters.load(folder, in_use=())
    found = shared.compute([(adapter, Example(sequences=[sequence])) for sequence in SEQUENCES])
    for own, expected in zip(found, stock(folders[name], tiny_base_folder), strict=True):
        torch.testing.assert_close(own[0], expected, rtol=TOLERANCE, atol=TOLERANCE)


def test_all_methods_in_one_batch_equal_stock_peft(folders: dict[str, Path], shared: SharedBase,
                                                   tiny_base_folder: Path) -> None:
    loaded = {name: read_folder(path) for name, path in folders.items()}
    adapters = {name: shared.adapters.find(folder.digest) or shared.adapters.load(folder, in_use=())
                for name, folder in loaded.items()}
    rows = [(name, i) for i in (0, 2, 1, 2) for name in METHODS]  # two rows of each adapter share one text
    before = shared.n_passes
    found = shared.compute([(adapters[name], Example(sequences=[SEQUENCES[i]])) for name, i in rows])
    assert shared.n_passes == before + 1
    expected = {name: stock(path, tiny_base_folder) for name, path in folders.items()}
    for (name, i), own in zip(rows, found, strict=True):
        torch.testing.assert_close(own[0], expected[name][i], rtol=TOLERANCE, atol=TOLERANCE, msg=name)


REFUSED = {
    "loha": (LoHaConfig(task_type="SEQ_CLS", r=2, target_modules=QUERY_VALUE), "method LOHA is not served"),
    "vera": (VeraConfig(task_type="SEQ_CLS", r=2, target_modules=QUERY_VALUE), "method VERA is not served"),
    "trained tokens": (LoraConfig(**LORA, trainable_token_indices={"word_embeddings": [1, 2]}),
                       "trainable_token_indices"),
    "lora of an embedding": (LoraConfig(**LORA | {"target_modules": ["query", "word_embeddings"]}),
                             "it changes an embedding"),
    "pissa by chance": (LoraConfig(**LORA, init_lora_weights="pissa_niter_2"), "path_initial_model"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_method_that_is_not_served_is_refused_by_name(name: str, tmp_path: Path, tiny_base_folder: Path,
                                                      tiny_settings: Settings, shared: SharedBase) -> None:
    config, told = REFUSED[name]
    path = write_peft_folder(tmp_path / "refused", tiny_base_folder, tiny_settings.cache, config)
    with pytest.raises(InvalidFolder, match=told):
        shared.adapters.load(read_folder(path), in_use=())


def test_adapters_without_a_slot_leave_too_when_room_is_needed(tmp_path: Path, tiny_base_folder: Path,
                                                               tiny_settings: Settings) -> None:
    shared = SharedBase(load_base(str(tiny_base_folder), cache=tiny_settings.cache),
                        RuntimeConfig(dtype="float32", max_slots=2))
    for seed in range(4):
        path = write_peft_folder(tmp_path / str(seed), tiny_base_folder, tiny_settings.cache, METHODS["ia3"], seed=seed)
        shared.adapters.load(read_folder(path), in_use=())
    assert (len(shared.adapters.digests), shared.adapters.n_evictions) == (2, 2)
    assert shared.adapters.size_bytes > 0


def test_loading_what_is_resident_takes_no_second_slot(folders: dict[str, Path], tiny_base_folder: Path,
                                                       tiny_settings: Settings) -> None:
    shared = SharedBase(load_base(str(tiny_base_folder), cache=tiny_settings.cache), RuntimeConfig(dtype="float32"))
    first = shared.adapters.load(read_folder(folders["lora"]), in_use=())
    size_bytes = shared.adapters.size_bytes
    assert shared.adapters.load(read_folder(folders["lora"]), in_use=()) is first
    assert (shared.adapters.n_loads, shared.adapters.size_bytes) == (1, size_bytes)
