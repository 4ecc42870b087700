"""The folder is proved by a reload, holds nothing of this machine, and is there wholly or not at all."""

import errno
import importlib.metadata
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_folders import names_in
from peft import PeftModel
from safetensors import SafetensorError
from trained_folders import tensors_of

from adapterhub.adapter.check import check_folder
from adapterhub.adapter.folder import FOLDER_FILES, read_folder
from adapterhub.adapter.peft_config import CONFIG_FILE
from adapterhub.bases.load import Base
from adapterhub.errors import DataError, InvalidConfig, StorageError, TrainingError
from adapterhub.training import export, run
from adapterhub.training.run import TrainResult

Run = Callable[..., TrainResult]


def nothing_is_left(place: Path) -> bool:
    return list(place.iterdir()) == []


def test_folder_is_exactly_the_four_files_and_checks(tiny_adapters: dict[str, Path], tiny_base: Base) -> None:
    for folder in tiny_adapters.values():
        assert names_in(folder) == sorted(FOLDER_FILES)
        check_folder(read_folder(folder), tiny_base.shapes)


def test_no_file_holds_a_path_of_this_machine(tiny_adapters: dict[str, Path], tiny_base_folder: Path) -> None:
    for folder in tiny_adapters.values():
        for path in folder.iterdir():
            content = path.read_bytes()
            assert str(tiny_base_folder.parent).encode() not in content
            assert str(folder.parent).encode() not in content
            assert str(Path.home()).encode() not in content or path.suffix == ".safetensors"


def test_manifest_tells_how_it_was_made(run_tiny: Run) -> None:
    result = run_tiny(epochs=2, seed=3, rank=4, source="a paper", licence="MIT", name="rows of mine")
    assert result.folder
    manifest = read_folder(result.folder).manifest
    told = manifest.training.hyperparameters
    assert (told["epochs"], told["batch_size"], told["rank"], told["metric"]) == (2, 8, 4, "accuracy")
    assert manifest.training.seed == 3
    assert manifest.training.versions["peft"] == importlib.metadata.version("peft")
    assert 0 < result.outcome.seconds < manifest.training.seconds
    assert manifest.training.peak_memory_bytes > 50e6
    assert (manifest.data.name, manifest.data.licence, manifest.data.source) == ("rows of mine", "MIT", "a paper")
    assert manifest.data.n_rows == {"train": 30, "validation": 6, "test": 6}
    assert manifest.head.max_length == 32
    assert manifest.method.n_parameters == sum(value.numel() for value in tensors_of(result.folder).values())


def test_metrics_are_those_of_the_stored_tensors_on_the_test_rows(run_tiny: Run) -> None:
    result = run_tiny(epochs=2)
    assert result.folder
    metrics = read_folder(result.folder).manifest.metrics
    assert {m.name: m.value for m in metrics if m.split == "test"} == result.findings.metrics
    assert result.findings.metrics.items() > result.evaluation.metrics.items()
    assert {m.n_rows for m in metrics} == {6}
    assert [(m.name, m.value) for m in metrics if m.split == "validation"] == [("accuracy", result.outcome.best_value)]


def test_epochs_and_batch_left_open_are_told_as_they_were_chosen(run_tiny: Run) -> None:
    result = run_tiny(epochs=None, batch_size=None, patience=1, learning_rate=1e-8)
    assert result.folder
    told = read_folder(result.folder).manifest.training.hyperparameters
    assert (told["epochs"], told["batch_size"]) == (40, 16)  # 30 rows: two steps an epoch
    assert result.outcome.epochs_done < 40


def test_rows_without_a_test_part_are_not_measured(run_tiny: Run) -> None:
    result = run_tiny(is_validated=False, fractions=(1.0, 0.0, 0.0))
    assert result.folder
    assert read_folder(result.folder).manifest.metrics == []
    assert result.evaluation.n_rows == 0


def test_validation_rows_are_trained_on_where_nothing_is_validated(run_tiny: Run) -> None:
    result = run_tiny(is_validated=False)
    assert result.outcome.n_steps == 5  # 36 rows rather than 30, 8 a step
    assert result.outcome.metric == ""


@pytest.mark.parametrize(("dtype", "stored"), [("float32", torch.float32), ("float16", torch.float16),
                                               ("auto", torch.float16)])
def test_tensors_are_stored_in_the_type_that_was_asked_for(dtype: str, stored: torch.dtype, run_tiny: Run) -> None:
    folder = run_tiny(dtype=dtype).folder
    assert {value.dtype for value in tensors_of(folder).values()} == {stored}
    assert folder
    assert read_folder(folder).manifest.method.dtype == str(stored).removeprefix("torch.")


def test_auto_keeps_float32_where_16_bits_move_the_metric(run_tiny: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def coarse(state: dict[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
        return {name: torch.zeros_like(value) for name, value in state.items()}

    monkeypatch.setattr(run, "rounded", coarse)
    result = run_tiny(dtype="auto", epochs=12, patience=12)
    assert result.outcome.best_value > 0.5
    assert {value.dtype for value in tensors_of(result.folder).values()} == {torch.float32}


@pytest.mark.parametrize("dtype", ["auto", "float16"])
def test_value_too_large_for_16_bits_is_kept_or_told(dtype: str, run_tiny: Run, monkeypatch: pytest.MonkeyPatch,
                                                     tmp_path: Path) -> None:
    put = run._store

    def enlarge(config: Any, trained: Any, task: Any, inputs: Any, outcome: Any) -> torch.dtype:
        name = next(name for name in outcome.state if "lora_A" in name)
        outcome.state[name][0, 0] = 1e5
        return put(config, trained, task, inputs, outcome)

    monkeypatch.setattr(run, "_store", enlarge)
    if dtype == "auto":
        assert max(float(value.max()) for value in tensors_of(run_tiny(dtype=dtype).folder).values()) == 1e5
    else:
        with pytest.raises(InvalidConfig, match="too large for float16"):
            run_tiny(dtype=dtype)
        assert nothing_is_left(tmp_path)


def test_folder_that_reloads_differently_is_not_kept(run_tiny: Run, monkeypatch: pytest.MonkeyPatch,
                                                     tmp_path: Path) -> None:
    load = PeftModel.from_pretrained

    def faulty(*args: Any) -> PeftModel:
        model: PeftModel = load(*args)
        with torch.no_grad():
            next(value for name, value in model.named_parameters() if "lora_B" in name).add_(0.1)
        return model

    monkeypatch.setattr(PeftModel, "from_pretrained", faulty)
    with pytest.raises(TrainingError, match=r"A reload through stock PEFT differs by \d\.\d+e"):
        run_tiny()
    assert nothing_is_left(tmp_path)


def test_tensors_that_peft_leaves_out_are_an_error(run_tiny: Run, monkeypatch: pytest.MonkeyPatch,
                                                   tmp_path: Path) -> None:
    save = PeftModel.save_pretrained

    def forgetful(self: PeftModel, folder: str, **options: Any) -> None:
        state = {name: value for name, value in self.state_dict().items()
                 if "layer.1." not in name or "lora_" not in name}
        save(self, folder, state_dict=state, **options)

    monkeypatch.setattr(PeftModel, "save_pretrained", forgetful)
    with pytest.raises(TrainingError, match=r"PEFT wrote \d+ tensors, \d+ were trained"):
        run_tiny()
    assert nothing_is_left(tmp_path)


def no_space(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def no_space_for_tensors(*_: Any, **__: Any) -> None:
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize("place", ["text", "tensors", "sync"])
def test_full_device_is_told_and_nothing_is_left(place: str, run_tiny: Run, monkeypatch: pytest.MonkeyPatch,
                                                 tmp_path: Path) -> None:
    if place == "text":
        monkeypatch.setattr(Path, "write_text", no_space)
    elif place == "tensors":
        monkeypatch.setattr(export, "save_file", no_space_for_tensors)
    else:
        monkeypatch.setattr(os, "fsync", no_space)
    told = r"No space left on the device for .*out(\.run/run\.json)?; nothing was kept\. Free some"
    with pytest.raises(StorageError, match=told):
        run_tiny()
    assert nothing_is_left(tmp_path)


def test_tensor_file_beyond_the_systems_limit_is_told_and_nothing_is_left(run_tiny: Run, tmp_path: Path) -> None:
    """A real refusal of the operating system, in the middle of PEFT's own write: no file beyond 20 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(StorageError, match="cannot be used: File too large"):
            run_tiny(rank=8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert nothing_is_left(tmp_path)


@pytest.mark.slow
def test_trainer_that_is_killed_while_it_writes_leaves_no_folder(tiny_base_folder: Path, tiny_rows: dict[str, Path],
                                                                 tmp_path: Path) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from adapterhub.settings import Settings
from adapterhub.training import export
from adapterhub.training.config import TrainConfig
from adapterhub.training.run import run_training
base, data, place = map(Path, sys.argv[1:])
export.check_folder = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # all files are written, none is checked
config = TrainConfig(task="text-classification", data=str(data), base=str(base), output=place / "out", epochs=1,
                     max_length=32)
run_training(config, Settings(registry="r", cache=place / "cache", data=None, shipped_registry=None))
"""
    done = subprocess.run([sys.executable, "-c", script, tiny_base_folder, tiny_rows["intents3"], tmp_path],
                          check=False, capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    assert {path.name[:5] for path in tmp_path.iterdir()} == {"cache", ".out.", "out.r"}  # hidden; the run's log


def test_taken_output_is_refused_before_training(run_tiny: Run, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "read_data", lambda *_, **__: pytest.fail("the data was read"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="out exists already"):
        run_tiny()
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


def test_output_inside_a_file_is_refused_before_training(run_tiny: Run, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "read_data", lambda *_, **__: pytest.fail("the data was read"))
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file is a file"):
        run_tiny(output=tmp_path / "file" / "deep" / "out")


def test_output_that_may_not_be_written_is_refused_before_training(run_tiny: Run, tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(StorageError, match="is not writable"):
        run_tiny()


def test_empty_output_and_absent_parents_are_made(run_tiny: Run, tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert run_tiny(output=tmp_path / "a" / "b").folder == tmp_path / "a" / "b"
    assert run_tiny(output=tmp_path / "new" / "deep").folder == tmp_path / "new" / "deep"


def test_full_fine_tuning_writes_a_whole_model_that_transformers_loads(run_tiny: Run, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    result = run_tiny(method="full", learning_rate=1e-3)
    assert result.folder is None
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").config.num_labels == 3
    assert result.n_trained > 20 * 1000


def test_config_file_says_how_the_adapter_is_to_be_loaded(tiny_adapters: dict[str, Path]) -> None:
    for name, task_type in (("intents3", "SEQ_CLS"), ("entities", "TOKEN_CLS"), ("pairs", "FEATURE_EXTRACTION")):
        raw = json.loads((tiny_adapters[name] / CONFIG_FILE).read_text())
        assert (raw["task_type"], raw["inference_mode"], raw["peft_type"]) == (task_type, True, "LORA")
        assert raw["target_modules"] == sorted(raw["target_modules"])
