"""What the runtime says of a row, and what it refuses before anything is computed."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapter_folders import edit_manifest, listed_anew
from safetensors.numpy import load_file, save_file
from tiny import write_tiny_base

from adapterhub.adapter.manifest import MANIFEST_FILE
from adapterhub.adapter.peft_config import CONFIG_FILE, PREFIX, WEIGHTS_FILE
from adapterhub.errors import AdapterNotFound, BaseMismatch, PredictionError
from adapterhub.files import canonical_json, read_json
from adapterhub.registry import Registry
from adapterhub.runtime.answer import Answer, Failure
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.engine import Runtime
from adapterhub.settings import Settings


@pytest.fixture(scope="module")
def registry(tiny_adapters: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Registry:
    registry = Registry(tmp_path_factory.mktemp("answers") / "registry")
    for name, folder in tiny_adapters.items():
        registry.publish(folder, f"t/{name}")
    return registry


@pytest.fixture(scope="module")
def runtime_of(tiny_base_folder: Path, tiny_settings: Settings, registry: Registry) -> Callable[..., Runtime]:
    def build(base: Path = tiny_base_folder, registry: Registry = registry, **options: Any) -> Runtime:
        return Runtime(str(base), registry, settings=tiny_settings, config=RuntimeConfig(dtype="float32", **options))
    return build


@pytest.fixture(scope="module")
def runtime(runtime_of: Callable[..., Runtime]) -> Runtime:
    return runtime_of()


def test_answers_come_in_the_rows_order_with_their_versions(runtime: Runtime) -> None:
    answers = runtime.predict([("t/entities", "anna is in rome"), (None, "x"), ("t/intents3", "card")])
    assert [answer.version for answer in answers] == ["t/entities@1", None, "t/intents3@1"]
    assert [answer.task for answer in answers] == ["token-classification", "sentence-similarity",
                                                   "text-classification"]
    assert [sorted(answer.result) for answer in answers] == [["entities"], ["embedding"], ["label", "score", "top"]]


def test_scores_of_all_labels_sum_to_one(runtime: Runtime) -> None:
    top = runtime.predict([("t/intents3", "card")])[0].result["top"]
    assert sum(line["score"] for line in top) == pytest.approx(1)
    assert {line["label"] for line in top} == {"card", "loan", "travel"}


def test_candidates_come_ranked(runtime: Runtime) -> None:
    result = runtime.predict([("t/pairs", {"query": "card", "candidates": ["soup", "card", "anna"]})])[0].result
    scores = [line["score"] for line in result["ranking"]]
    assert (result["answer"], scores) == ("card", sorted(scores, reverse=True))


def test_no_rows_give_no_answers(runtime: Runtime) -> None:
    assert runtime.predict([]) == []


LONG = [(None, "anna " * 200), ("t/intents3", "card " * 200), ("t/entities", "card " * 200)]


def test_text_longer_than_the_base_reads_is_cut_where_that_is_asked(runtime: Runtime) -> None:
    assert len(runtime.predict(LONG, truncate=True)) == 3


@pytest.mark.parametrize("row", LONG, ids=lambda row: str(row[0]))
def test_text_longer_than_the_base_reads_is_refused_otherwise(row: Any, runtime: Runtime) -> None:
    with pytest.raises(PredictionError, match="longer than the 64 tokens"):
        runtime.predict([row])


BAD_ROWS = {
    "empty text": ("t/intents3", "", "no text"),
    "white text": ("t/intents3", " \n", "no text"),
    "no text at all": ("t/intents3", None, "found NoneType"),
    "mapping without text": ("t/intents3", {"txt": "a"}, "no text"),
    "empty pair": ("t/intents3", ("a", ""), "no text_pair"),
    "empty words": ("t/entities", [], "empty word or none"),
    "one empty word": ("t/entities", ["anna", " "], "empty word or none"),
    "empty sentence": ("t/entities", "", "no text"),
    "no candidates": ("t/pairs", {"query": "a", "candidates": []}, "Candidates"),
    "empty candidate": ("t/pairs", {"query": "a", "candidates": ["b", ""]}, "Candidates"),
    "no query": ("t/pairs", {"candidates": ["b"]}, "no query"),
    "query alone": ("t/pairs", {"query": "b"}, "no answer"),
    "empty bare text": (None, "", "no text"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_unusable_row_is_refused_by_its_number(name: str, runtime: Runtime) -> None:
    reference, row, told = BAD_ROWS[name]
    with pytest.raises(PredictionError, match=r"^Row 2(: | for t/)") as caught:
        runtime.predict([("t/intents3", "card"), (reference, row)])
    assert told in str(caught.value)


@pytest.mark.parametrize("name", BAD_ROWS)
def test_row_at_fault_fails_alone(name: str, runtime: Runtime) -> None:
    reference, row, told = BAD_ROWS[name]
    first, failure, last = runtime.answer([("t/intents3", "card"), (reference, row), ("t/intents5", "card")])
    assert isinstance(failure, Failure)
    assert (failure.reference, told in str(failure.error)) == (reference, True)
    assert [answer.version for answer in (first, last) if isinstance(answer, Answer)] == ["t/intents3@1",
                                                                                          "t/intents5@1"]


def test_more_adapters_than_slots_take_several_passes(runtime_of: Callable[..., Runtime]) -> None:
    runtime = runtime_of(max_slots=2)
    rows = [(f"t/{name}", "card") for name in ("intents3", "intents5", "entities", "intents3")]
    assert [answer.reference for answer in runtime.predict(rows)] == [reference for reference, _ in rows]
    assert runtime.statistics().n_resident == 2


def test_unknown_reference_is_refused_with_near_misses(runtime: Runtime) -> None:
    with pytest.raises(AdapterNotFound, match="t/intents4") as caught:
        runtime.predict([("t/intents4", "card")])
    assert "t/intents" in caught.value.hint


def test_adapter_of_another_base_is_refused_with_both_fingerprints(runtime_of: Callable[..., Runtime],
                                                                   registry: Registry, tmp_path: Path) -> None:
    runtime = runtime_of(write_tiny_base(tmp_path / "other", seed=1))  # the same shapes, other weights
    with pytest.raises(BaseMismatch) as caught:
        runtime.predict([("t/intents3", "card")])
    trained_on = registry.read("t/intents3").manifest.base.fingerprint
    assert trained_on[:12] in str(caught.value)
    assert runtime.base.identity.fingerprint[:12] in str(caught.value)
    assert runtime.statistics().n_loads == 0


def test_saved_module_that_the_head_does_not_have_is_refused(tiny_adapters: dict[str, Path], tmp_path: Path,
                                                             runtime_of: Callable[..., Runtime]) -> None:
    # Stock PEFT would train and swap a saved LayerNorm; one pass for many adapters cannot.
    folder = tmp_path / "norm"
    shutil.copytree(tiny_adapters["intents3"], folder)
    tensors = load_file(folder / WEIGHTS_FILE)
    norm = f"{PREFIX}bert.encoder.layer.0.output.LayerNorm"
    save_file(tensors | {f"{norm}.weight": np.full(32, 2, "f4"), f"{norm}.bias": np.ones(32, "f4")},
              folder / WEIGHTS_FILE)
    saved = ["LayerNorm", "classifier", "pooler"]
    config = read_json(folder / CONFIG_FILE)
    (folder / CONFIG_FILE).write_bytes(canonical_json(config | {"modules_to_save": saved}))
    manifest = read_json(folder / MANIFEST_FILE)
    edit_manifest(folder, head=manifest["head"] | {"modules": saved},
                  method=manifest["method"] | {"n_parameters": manifest["method"]["n_parameters"] + 64})
    listed_anew(folder)
    registry = Registry(tmp_path / "registry")
    registry.publish(folder, "t/norm")
    runtime = runtime_of(registry=registry)
    with pytest.raises(PredictionError, match="LayerNorm"):
        runtime.predict([("t/norm", "card")])


def test_fault_of_ours_does_not_meet_the_next_caller(runtime_of: Callable[..., Runtime],
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = runtime_of()
    with monkeypatch.context() as patch:
        patch.setattr(runtime._shared, "compute", lambda rows: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            runtime.predict([("t/intents3", "card")])
    assert [answer.reference for answer in runtime.predict([("t/intents5", "card")])] == ["t/intents5"]
    assert runtime.statistics().n_rows == 1
