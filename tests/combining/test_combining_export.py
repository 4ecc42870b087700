"""An exported model is stock transformers' own, answers as the adapter, and appears only if it does."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig, PromptTuningConfig, VeraConfig
from stock import stock_model, stock_outputs
from transformers import AutoTokenizer

from adapterhub.adapter.folder import read_files
from adapterhub.bases.load import Base
from adapterhub.combining.export import export
from adapterhub.combining.made import Parent
from adapterhub.errors import AdapterHubError, DataError
from adapterhub.tasks.table import TASKS

WriteStock = Callable[..., Path]
LAYERS = ["attention.self.query", "intermediate.dense"]
HEAD = ["classifier", "pooler"]
TEXT, WORDS = "where is my new visa", ["anna", "is", "new", "rome"]


def any_parent(folder: Path) -> Parent:
    files = read_files(folder)
    return Parent(files=files, reference=f"support/intents@sha256:{files.digest}")


TASKS_ALONE = {"question-answering": ["start", "end"], "multi-label-classification": ["a", "b", "c"],
               "text-regression": ["score"]}


@pytest.mark.parametrize("task", TASKS_ALONE)
def test_tasks_beside_the_first_three_are_exported_with_their_problem_type(task: str, write: WriteStock,
                                                                           tiny_base: Base, tmp_path: Path) -> None:
    head = "qa_outputs" if task == "question-answering" else "classifier"
    config = LoraConfig(r=2, target_modules=LAYERS, modules_to_save=[head])
    folder = write(config, 6, task=task, labels=TASKS_ALONE[task], auto_class=TASKS[task].auto_class)
    done = export(any_parent(folder), tiny_base, tmp_path / "model")
    exported = TASKS[task].auto_class.from_pretrained(done.folder)
    assert done.output_difference < 1e-4
    assert exported.config.problem_type == {"multi-label-classification": "multi_label_classification",
                                            "text-regression": "regression"}.get(task)


@pytest.mark.parametrize("name", ["intents3", "entities", "pairs"])
def test_stock_transformers_answers_as_base_and_adapter(name: str, tiny_adapters: dict[str, Path], tiny_base: Base,
                                                        tiny_base_folder: Path, tmp_path: Path) -> None:
    source = any_parent(tiny_adapters[name])
    done = export(source, tiny_base, tmp_path / "model")
    manifest = source.files.manifest
    text: Any = WORDS if name == "entities" else TEXT
    exported = TASKS[manifest.task].auto_class.from_pretrained(done.folder).eval()
    adapted = stock_model(tiny_base_folder, manifest.task, len(manifest.labels), tiny_adapters[name])
    outputs = (stock_outputs(done.folder, exported, text), stock_outputs(tiny_base_folder, adapted, text))
    assert torch.allclose(*outputs, atol=1e-4)
    assert done.output_difference < 1e-4
    if manifest.labels:
        assert list(exported.config.id2label.values()) == manifest.labels
    assert AutoTokenizer.from_pretrained(done.folder)(TEXT).input_ids == tiny_base.tokenizer(TEXT).input_ids


def test_card_names_the_version_and_size_is_that_of_the_files(tiny_adapters: dict[str, Path], tiny_base: Base,
                                                              tiny_base_folder: Path, tmp_path: Path) -> None:
    source = any_parent(tiny_adapters["intents3"])
    done = export(source, tiny_base, tmp_path / "model")
    files = [path for path in done.folder.iterdir() if path.is_file()]
    assert done.size_bytes == sum(path.stat().st_size for path in files) > 80_000
    card = (done.folder / "README.md").read_text()
    assert source.reference in card
    assert all(label in card for label in source.files.manifest.labels)
    written = "".join(path.read_text() for path in files if path.suffix in (".json", ".md"))
    assert str(tmp_path) not in written
    assert str(tiny_base_folder) not in written


@pytest.mark.parametrize("config", [
    LoraConfig(task_type="SEQ_CLS", r=3, target_modules=LAYERS, use_dora=True, modules_to_save=HEAD),
    LoraConfig(task_type="SEQ_CLS", r=3, target_modules=LAYERS, init_lora_weights="pissa", bias="all"),
    IA3Config(task_type="SEQ_CLS", target_modules=LAYERS, feedforward_modules=LAYERS[1:], modules_to_save=HEAD),
    VeraConfig(task_type="SEQ_CLS", r=4, target_modules=LAYERS[:1], modules_to_save=HEAD),
], ids=["dora", "pissa with biases", "ia3", "vera"])
def test_every_method_that_peft_merges_is_exported(config: Any, write: WriteStock, tiny_base: Base,
                                                   tiny_base_folder: Path, tmp_path: Path) -> None:
    folder = write(config, 5)
    done = export(any_parent(folder), tiny_base, tmp_path / "model")
    exported = TASKS["text-classification"].auto_class.from_pretrained(done.folder).eval()
    adapted = stock_model(tiny_base_folder, "text-classification", 3, folder)
    outputs = [stock_outputs(tiny_base_folder, model, TEXT) for model in (exported, adapted)]
    assert torch.allclose(*outputs, atol=1e-4)


def refusal(source: Parent, base: Base, place: Path) -> str:
    with pytest.raises(AdapterHubError) as caught:
        export(source, base, place / "model")
    assert not list(place.glob("*model*"))
    return str(caught.value)


def test_prompt_method_has_no_weights_to_export(write: WriteStock, tiny_base: Base, tmp_path: Path) -> None:
    config = PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=4)
    assert "adds tokens and changes no weight" in refusal(any_parent(write(config)), tiny_base, tmp_path)


def test_adapter_that_computes_otherwise_than_recorded_is_not_exported(tiny_adapters: dict[str, Path], tiny_base: Base,
                                                                       tmp_path: Path) -> None:
    source = any_parent(tiny_adapters["intents3"])
    probe = [replace(row, outputs=[value + 1 for value in row.outputs]) for row in source.files.manifest.probe]
    files = replace(source.files, manifest=replace(source.files.manifest, probe=probe))
    assert "its probe differs from what was recorded" in refusal(replace(source, files=files), tiny_base, tmp_path)


def test_model_that_answers_otherwise_does_not_appear(tiny_adapters: dict[str, Path], tiny_base: Base, tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapterhub.combining.export.merged_weights", lambda adapted, _: adapted.model.unload())
    sentence = refusal(any_parent(tiny_adapters["pairs"]), tiny_base, tmp_path)
    assert "merged into the base's weights it answers otherwise" in sentence


def test_taken_folder_is_left_alone(tiny_adapters: dict[str, Path], tiny_base: Base, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="exists already"):
        export(any_parent(tiny_adapters["pairs"]), tiny_base, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_card_harms_nobody(tiny_adapters: dict[str, Path], tiny_base: Base, tmp_path: Path) -> None:
    source = any_parent(tiny_adapters["intents3"])
    data = replace(source.files.manifest.data, name="rows <script>alert(1)</script>")
    files = replace(source.files, manifest=replace(source.files.manifest, data=data))
    done = export(replace(source, files=files), tiny_base, tmp_path / "model")
    assert "<script>" not in (done.folder / "README.md").read_text()
