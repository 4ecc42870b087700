"""What stock PEFT does silently wrong is an error here, or cannot happen. Numbers are those of the list of traps."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from adapter_folders import edit_manifest, names_in
from peft import PeftModel
from tiny import write_tiny_base
from trained_folders import State, tampered, tensors_of

from adapterhub.adapter.check import check_folder
from adapterhub.adapter.folder import FOLDER_FILES, read_folder
from adapterhub.adapter.peft_config import CONFIG_FILE, PREFIX, WEIGHTS_FILE
from adapterhub.bases.load import Base, load_base
from adapterhub.errors import BaseMismatch, InvalidConfig, InvalidFolder, TrainingError
from adapterhub.making import train
from adapterhub.settings import Settings
from adapterhub.tasks.probe import probe_examples
from adapterhub.tasks.table import find_task
from adapterhub.training.config import TrainConfig
from adapterhub.training.evaluate import compute_outputs
from adapterhub.training.export import PROBE_TOLERANCE
from adapterhub.training.methods import build_model
from adapterhub.training.run import TrainResult

HEADED = ("intents3", "intents5", "entities", "query-only")


def is_refused(folder: Path, base: Base, reason: str) -> None:
    with pytest.raises(InvalidFolder) as caught:
        check_folder(read_folder(folder), base.shapes)
    assert any(reason in fault for fault in caught.value.faults), caught.value.faults


@pytest.mark.parametrize("name", [*HEADED, "pairs"])
def test_row_01_stock_reload_gives_the_recorded_probe(name: str, tiny_adapters: dict[str, Path],
                                                      tiny_base: Base) -> None:
    manifest = read_folder(tiny_adapters[name]).manifest
    task = find_task(manifest.task)
    fresh = tiny_base.load_with_head(task.auto_class, n_labels=max(1, len(manifest.labels)))
    model = PeftModel.from_pretrained(fresh, str(tiny_adapters[name]))
    outputs = compute_outputs(model, task, probe_examples(task, [row.input_ids for row in manifest.probe]), 0)
    for row, output in zip(manifest.probe, outputs, strict=True):
        assert torch.allclose(output[0].flatten(), torch.tensor(row.outputs), atol=PROBE_TOLERANCE)


@pytest.mark.parametrize("name", HEADED)
def test_row_02_trained_head_is_always_in_the_file(name: str, tiny_adapters: dict[str, Path], tiny_base: Base,
                                                   tiny_config: Callable[..., TrainConfig]) -> None:
    folder = read_folder(tiny_adapters[name])
    task = find_task(folder.manifest.task)
    config = tiny_config(task=task.name, rank=folder.config.r, targets=tuple(folder.manifest.method.target_modules))
    model = build_model(config, tiny_base, task, folder.manifest.labels).model
    n_trained = sum(value.numel() for value in model.parameters() if value.requires_grad)
    state = tensors_of(tiny_adapters[name])
    assert sum(value.numel() for value in state.values()) == n_trained
    assert f"{PREFIX}classifier.weight" in state
    assert folder.config.task_type == task.peft_task_type


def test_row_02_folder_without_its_head_is_refused(tiny_adapters: dict[str, Path], tiny_base: Base,
                                                   tmp_path: Path) -> None:
    copy = tampered(tiny_adapters["intents3"], tmp_path / "a",
                    lambda state: {name: value for name, value in state.items() if "classifier" not in name})
    is_refused(copy, tiny_base, "module classifier has no tensor in the file")


@pytest.mark.parametrize("name", HEADED)
def test_row_03_all_linear_adapts_no_head(name: str, tiny_adapters: dict[str, Path]) -> None:
    adapted = {key for key in tensors_of(tiny_adapters[name]) if "lora_" in key}
    assert adapted
    assert all(".encoder.layer." in key for key in adapted)


def test_row_04_another_base_of_the_same_shapes_is_refused(tiny_adapters: dict[str, Path], tiny_settings: Settings,
                                                           tiny_base: Base, tmp_path: Path) -> None:
    other = load_base(str(write_tiny_base(tmp_path / "tiny-base", seed=9)), cache=tiny_settings.cache)
    assert other.shapes.shapes == tiny_base.shapes.shapes
    with pytest.raises(BaseMismatch) as caught:
        check_folder(read_folder(tiny_adapters["intents3"]), other.shapes)
    assert {caught.value.expected, caught.value.found} == {tiny_base.identity.fingerprint, other.identity.fingerprint}


@pytest.mark.parametrize("part", ["lora_A", "lora_B"])
def test_rows_05_and_06_missing_tensors_are_refused_by_name(part: str, tiny_adapters: dict[str, Path], tiny_base: Base,
                                                            tmp_path: Path) -> None:
    def drop(state: State) -> State:
        half = [name for name in sorted(state) if part in name][::2]
        return {name: value for name, value in state.items() if name not in half}

    copy = tampered(tiny_adapters["query-only"], tmp_path / "a", drop)
    is_refused(copy, tiny_base, f"tensor {PREFIX}bert.encoder.layer.0.attention.self.query.{part}.weight is missing")


def test_rows_05_and_06_a_whole_layer_that_is_missing_is_refused(tiny_adapters: dict[str, Path], tiny_base: Base,
                                                                 tmp_path: Path) -> None:
    copy = tampered(tiny_adapters["intents3"], tmp_path / "a",
                    lambda state: {name: value for name, value in state.items() if ".layer.1." not in name})
    is_refused(copy, tiny_base, "tensors of target encoder.layer.1.attention.self.query are missing")


def test_row_07_tensors_of_a_deeper_base_are_refused(tiny_adapters: dict[str, Path], tiny_base: Base,
                                                     tmp_path: Path) -> None:
    copy = tampered(tiny_adapters["intents3"], tmp_path / "a", lambda state: state | {
        name.replace(".layer.1.", ".layer.2."): value for name, value in state.items() if ".layer.1." in name})
    is_refused(copy, tiny_base, "the base has no module encoder.layer.2.")


def test_row_07_tensor_that_nothing_reads_is_refused(tiny_adapters: dict[str, Path], tiny_base: Base,
                                                     tmp_path: Path) -> None:
    copy = tampered(tiny_adapters["pairs"], tmp_path / "a",
                    lambda state: state | {f"{PREFIX}encoder.layer.0.output.LayerNorm.weight": torch.ones(32)})
    is_refused(copy, tiny_base, "LayerNorm.weight is unexpected")


@pytest.mark.parametrize("kept", ["lora_", "classifier"])
def test_row_08_names_without_pefts_prefix_are_refused(kept: str, tiny_adapters: dict[str, Path], tiny_base: Base,
                                                       tmp_path: Path) -> None:
    copy = tampered(tiny_adapters["intents3"], tmp_path / "a", lambda state: {
        name.removeprefix(PREFIX) if kept in name else name: value for name, value in state.items()})
    is_refused(copy, tiny_base, f"does not start with {PREFIX}")


def test_row_09_adapters_of_other_label_counts_share_one_base(tiny_adapters: dict[str, Path], tiny_base: Base) -> None:
    for name, count in (("intents3", 3), ("intents5", 5), ("entities", 5)):
        tensors = check_folder(read_folder(tiny_adapters[name]), tiny_base.shapes)
        assert tensors.head["classifier.weight"].shape[0] == count


def test_row_09_head_that_does_not_fit_its_labels_is_refused(tiny_adapters: dict[str, Path], tiny_base: Base,
                                                             tmp_path: Path) -> None:
    copy = tampered(tiny_adapters["intents5"], tmp_path / "a", lambda state: state)
    edit_manifest(copy, labels=["card", "loan", "travel"])
    is_refused(copy, tiny_base, "the head has 5 or 32 outputs, the manifest has 3 labels")


def test_row_09_training_on_with_other_labels_is_refused(run_tiny: Callable[..., TrainResult], tmp_path: Path,
                                                         tiny_adapters: dict[str, Path],
                                                         tiny_rows: dict[str, Path]) -> None:
    with pytest.raises(InvalidConfig, match=r"has labels \['card', 'loan', 'travel'\], this run has \['card', 'food'"):
        run_tiny(data=str(tiny_rows["intents5"]), rank=8, continue_from=tiny_adapters["intents3"])
    assert not (tmp_path / "out").exists()


def test_row_10_a_base_is_never_wrapped_twice(tiny_base: Base, tiny_config: Callable[..., TrainConfig]) -> None:
    task = find_task("text-classification")
    for _ in range(2):
        trained = build_model(tiny_config(), tiny_base, task, ["a", "b"])
        assert isinstance(trained.model, PeftModel)
        wrapped = [module for module in trained.model.modules() if isinstance(module, PeftModel)]
        assert wrapped == [trained.model]
        assert list(trained.model.peft_config) == ["default"]


def test_row_10_training_on_adds_no_second_adapter(run_tiny: Callable[..., TrainResult],
                                                   tiny_adapters: dict[str, Path]) -> None:
    folder = run_tiny(rank=8, continue_from=tiny_adapters["intents3"]).folder
    assert tensors_of(folder).keys() == tensors_of(tiny_adapters["intents3"]).keys()


@pytest.mark.parametrize("output", ["lora", "default", "base_model"])
def test_row_11_no_name_of_a_folder_gets_into_the_tensors_names(output: str, train_tiny: Callable[..., Path],
                                                                tmp_path: Path, tiny_adapters: dict[str, Path]) -> None:
    folder = train_tiny(tmp_path / output, "text-classification", "intents3", rank=8, name=output)
    assert tensors_of(folder).keys() == tensors_of(tiny_adapters["intents3"]).keys()
    assert names_in(folder) == sorted(FOLDER_FILES)


def test_row_12_every_adapter_names_its_base_by_fingerprint_and_without_a_path(tiny_adapters: dict[str, Path],
                                                                               tiny_base: Base) -> None:
    for folder in tiny_adapters.values():
        assert read_folder(folder).manifest.base.fingerprint == tiny_base.identity.fingerprint
        assert json.loads((folder / CONFIG_FILE).read_text())["base_model_name_or_path"] == "tiny-base"


@pytest.mark.parametrize("fingerprint", [None, "", "0" * 64])
def test_row_12_adapter_of_no_known_base_is_refused(fingerprint: str | None, tiny_adapters: dict[str, Path],
                                                    tiny_base: Base, tmp_path: Path) -> None:
    copy = tampered(tiny_adapters["intents3"], tmp_path / "a", lambda state: state)
    base = json.loads((copy / "adapterhub.json").read_text())["base"]
    edit_manifest(copy, base=base | {"fingerprint": fingerprint})
    with pytest.raises((BaseMismatch, InvalidFolder)):
        check_folder(read_folder(copy), tiny_base.shapes)


@pytest.mark.parametrize("name", [*HEADED, "pairs"])
def test_row_13_nothing_of_the_base_is_written(name: str, tiny_adapters: dict[str, Path]) -> None:
    folder = tiny_adapters[name]
    assert names_in(folder) == sorted(FOLDER_FILES)
    manifest = read_folder(folder).manifest
    bytes_each = {"float32": 4, "float16": 2}[manifest.method.dtype]
    n_bytes = (folder / WEIGHTS_FILE).stat().st_size
    assert n_bytes - manifest.method.n_parameters * bytes_each < 6_000  # the header alone
    owned = ("lora_A", "lora_B", "classifier", "pooler")
    assert all(any(part in key for part in owned) for key in tensors_of(folder))


def test_row_13_folder_that_carries_base_weights_is_refused(tiny_adapters: dict[str, Path], tiny_base: Base,
                                                            tmp_path: Path) -> None:
    trunk = {f"{PREFIX}bert.{name}": value for name, value in tiny_base.load_trunk().state_dict().items()}
    copy = tampered(tiny_adapters["intents3"], tmp_path / "a", lambda state: trunk | state)
    is_refused(copy, tiny_base, "word_embeddings.weight is unexpected")


def test_full_fine_tuning_gives_no_adapter(tiny_config: Callable[..., TrainConfig], tiny_settings: Settings,
                                           tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="Method 'full' gives no adapter"):
        train(tiny_config(method="full", learning_rate=1e-3), tiny_settings)
    assert WEIGHTS_FILE not in names_in(tmp_path / "out")
