"""The whole way on a tiny base: train, publish, promote, answer mixed rows, swap under requests, evaluate, pull."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from stock import stock_model, stock_outputs

from adapterhub import Registry, Runtime, Settings
from adapterhub.adapter.folder import FOLDER_FILES, read_folder
from adapterhub.bases.load import load_base
from adapterhub.demo.stream import RequestStream
from adapterhub.errors import InvalidFolder
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.measure import evaluate_adapter, verify_probe

TOLERANCE = 1e-5
"""float32 on one machine, as the issue of stock clients asks."""
TEXTS = ["where is my card", "the loan rate is new", "my trip about hotel", "what"]
WORDS = ["anna", "is", "in", "rome", "."]


@pytest.fixture(scope="module")
def versions(train_tiny: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders: intents, the second version trained on from it, and entities."""
    place = tmp_path_factory.mktemp("versions")
    first = train_tiny(place / "first", "text-classification", "intents3", rank=4, epochs=2)
    return {"first": first,
            "second": train_tiny(place / "second", "text-classification", "intents3", rank=4, continue_from=first,
                                 learning_rate=5e-3),
            "entities": train_tiny(place / "entities", "token-classification", "entities", rank=2)}


@pytest.fixture
def registry(versions: dict[str, Path], tmp_path: Path) -> Registry:
    """A registry with t/intents@1 as production and t/entities@1."""
    registry = Registry(tmp_path / "registry")
    registry.publish(versions["first"], "t/intents")
    registry.promote("t/intents@1", "production")
    registry.publish(versions["entities"], "t/entities")
    return registry


def test_published_adapters_answer_a_mixed_batch_as_stock_peft_does(registry: Registry, versions: dict[str, Path],
                                                                    tiny_base_folder: Path, tiny_settings: Settings,
                                                                    tmp_path: Path) -> None:
    pulled = tmp_path / "pulled"
    registry.pull("t/intents@production", pulled)
    model = stock_model(tiny_base_folder, "text-classification", 3, pulled)
    labels = read_folder(pulled).manifest.labels
    rows: list[tuple[str | None, Any]] = [("t/entities", WORDS)]
    rows += [("t/intents@production", text) for text in TEXTS]
    runtime = Runtime(str(tiny_base_folder), registry, settings=tiny_settings, config=RuntimeConfig(dtype="float32"))
    answers = runtime.predict(rows)
    assert [answer.version for answer in answers] == ["t/entities@1"] + ["t/intents@1"] * len(TEXTS)
    assert answers[1].digest == read_folder(versions["first"]).digest
    for text, answer in zip(TEXTS, answers[1:], strict=True):
        expected = torch.softmax(stock_outputs(tiny_base_folder, model, text), dim=-1)
        for top in answer.result["top"]:
            assert top["score"] == pytest.approx(float(expected[labels.index(top["label"])]), abs=TOLERANCE)


def test_version_moves_under_requests_without_a_failure_and_rolls_back(registry: Registry, versions: dict[str, Path],
                                                                       tiny_base_folder: Path,
                                                                       tiny_settings: Settings) -> None:
    runtime = Runtime(str(tiny_base_folder), registry, settings=tiny_settings)
    with RequestStream(runtime, "t/intents@production", TEXTS) as stream:
        stream.wait_for(10)
        assert registry.publish(versions["second"], "t/intents").reference == "t/intents@2"
        registry.promote("t/intents@2", "production")
        stream.wait_for(10)
        registry.rollback("t/intents@production")
        stream.wait_for(10)
    assert stream.log.failures == []
    phases = stream.log.phases()
    assert [phase.version for phase in phases] == ["t/intents@1", "t/intents@2", "t/intents@1"]
    assert (phases[0].first, phases[-1].last) == (1, len(stream.log.versions))
    # A request that was under way while the alias moved may still be the old one's; the second after it may not.
    assert phases[1].last - phases[1].first + 1 >= 9


def test_second_version_names_its_parent_and_differs_from_it(versions: dict[str, Path]) -> None:
    first, second = read_folder(versions["first"]), read_folder(versions["second"])
    assert second.manifest.parents == [f"sha256:{first.digest}"]
    assert second.digest != first.digest


def test_evaluating_a_version_gives_the_figures_of_its_card(registry: Registry, tiny_rows: dict[str, Path],
                                                            tiny_base_folder: Path, tiny_settings: Settings,
                                                            tmp_path: Path, train_tiny: Callable[..., Path]) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    for part in ("train", "validation", "test"):
        (parts / f"{part}.jsonl").write_bytes(tiny_rows["intents3"].read_bytes())
    folder = read_folder(train_tiny(tmp_path / "out", "text-classification", str(parts)))
    evaluation = evaluate_adapter(folder, str(parts), base=str(tiny_base_folder), settings=tiny_settings, columns={})
    assert evaluation.metrics["accuracy"] == pytest.approx(folder.manifest.metric("accuracy"), abs=1e-9)
    assert evaluation.metrics["ece"] == pytest.approx(folder.manifest.metric("ece"), abs=1e-5)
    assert evaluation.n_rows == 42


def test_probe_of_a_published_version_gives_what_it_gave(registry: Registry, tiny_base_folder: Path,
                                                         tiny_settings: Settings) -> None:
    base = load_base(str(tiny_base_folder), cache=tiny_settings.cache)
    difference = verify_probe(registry.read("t/intents"), base)
    assert difference is not None
    assert difference <= TOLERANCE


@pytest.mark.parametrize(("outputs", "told"), [([float("nan")] * 3, "differs by nan"), ([9.0] * 3, "differs by")])
def test_probe_that_does_not_hold_is_refused(outputs: list[float], told: str, registry: Registry,
                                             tiny_base_folder: Path, tiny_settings: Settings) -> None:
    base, folder = load_base(str(tiny_base_folder), cache=tiny_settings.cache), registry.read("t/intents")
    recorded = [replace(row, outputs=outputs) for row in folder.manifest.probe]
    with pytest.raises(InvalidFolder, match=told):
        verify_probe(replace(folder, manifest=replace(folder.manifest, probe=recorded)), base)


def test_adapter_without_a_probe_is_not_said_to_have_held_it(registry: Registry, tiny_base_folder: Path,
                                                             tiny_settings: Settings) -> None:
    base, folder = load_base(str(tiny_base_folder), cache=tiny_settings.cache), registry.read("t/intents")
    assert verify_probe(replace(folder, manifest=replace(folder.manifest, probe=[])), base) is None


@pytest.mark.parametrize("file", [*FOLDER_FILES, "version.json"])
def test_flipped_byte_in_any_file_is_never_served(file: str, registry: Registry, tiny_base_folder: Path,
                                                  tiny_settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "registry" / "t" / "intents" / "versions" / "1" / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    runtime = Runtime(str(tiny_base_folder), registry, settings=tiny_settings)
    with pytest.raises(InvalidFolder):
        registry.verify("t/intents@production")
    with pytest.raises(InvalidFolder):
        runtime.predict([("t/intents@production", "my card")])
    with pytest.raises(InvalidFolder):
        registry.pull("t/intents@1", tmp_path / "pulled")
    assert not (tmp_path / "pulled").exists()
    assert runtime.predict([("t/entities", WORDS)])[0].version == "t/entities@1"
