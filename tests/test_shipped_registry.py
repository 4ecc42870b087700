"""Every adapter in registry/ is whole, small, described, good enough, and stock PEFT gives the runtime's answers."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from list_files import ROOT
from stock import stock_model, stock_outputs

from adapterhub.adapter.folder import CARD_FILE, FOLDER_FILES
from adapterhub.bases.load import Base, load_base
from adapterhub.registry import Registry
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.measure import verify_probe
from adapterhub.runtime.shared_base import SharedBase
from adapterhub.settings import Settings
from adapterhub.tasks.table import find_task

SHIPPED = Registry(ROOT / "registry")
REFERENCES = [version.reference for path in SHIPPED.paths() for version in SHIPPED.versions(path)]
MOST_BYTES = 1_600_000
TOLERANCE = 1e-5
"""float32 sums in another order: the runtime folds the scaling into B and pads rows to the longest."""
FLOORS = [("support/banking77", "accuracy", 0.93, 3080), ("support/clinc150", "in_scope_accuracy", 0.95, 5500)]
"""What the two must reach at least, and the rows of the official test split."""
ROWS: dict[str, list[Any]] = {
    "text-classification": ["where is my card?", ("A man plays a guitar on the street.", "Somebody makes music."),
                            "The quarter's profit fell, and the board has withdrawn its outlook for the year. " * 2],
    "token-classification": [["Anna", "flies", "from", "Oslo", "to", "Kraków", "tomorrow", "."], ["ok"]],
    "sentence-similarity": ["What are the symptoms of asthma?", "It is inherited in an autosomal pattern. " * 4],
}

each_adapter = pytest.mark.parametrize("reference", REFERENCES)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    place = tmp_path_factory.mktemp("shipped")
    return Settings.from_environment({"HOME": str(place)})


@pytest.fixture(scope="module")
def base(settings: Settings) -> Base:
    return load_base("embedded", cache=settings.cache)


@pytest.fixture(scope="module")
def answers(base: Base) -> dict[str, list[torch.Tensor]]:
    """Reference -> the runtime's outputs for the rows of its task; all adapters' rows go in one batch."""
    shared = SharedBase(base, RuntimeConfig(dtype="float32", device="cpu"))
    rows = []
    for reference in REFERENCES:
        folder = SHIPPED.read(reference)
        manifest, task = folder.manifest, find_task(folder.manifest.task)
        adapter = shared.adapters.load(folder, in_use=())
        for row in ROWS[task.name]:
            example, = task.encode([task.parse_row(row)], base.tokenizer, manifest.labels, manifest.head.max_length)
            rows.append((reference, adapter, example))
    outputs = shared.compute([(adapter, example) for _, adapter, example in rows])
    found: dict[str, list[torch.Tensor]] = {}
    for (reference, _, _), output in zip(rows, outputs, strict=True):
        found.setdefault(reference, []).append(output[0])
    return found


def test_at_least_six_adapters_are_shipped() -> None:
    assert len(SHIPPED.paths()) >= 6


@pytest.mark.parametrize(("path", "metric", "floor", "n_rows"), FLOORS)
def test_adapter_reaches_its_floor_on_the_whole_official_test_split(path: str, metric: str, floor: float,
                                                                    n_rows: int) -> None:
    found = [m for m in SHIPPED.read(path).manifest.metrics if (m.name, m.split) == (metric, "test")]
    assert [m.n_rows for m in found] == [n_rows]
    assert found[0].value >= floor


def test_matching_of_questions_is_measured_against_the_bare_base() -> None:
    card = SHIPPED.read("medical/medquad").files[CARD_FILE].decode()
    assert "| bare base | " in card


@each_adapter
def test_files_are_small(reference: str) -> None:
    folder = SHIPPED.local_path(reference)
    assert folder
    assert {path.name for path in folder.iterdir()} >= set(FOLDER_FILES)
    for path in folder.iterdir():
        assert path.stat().st_size <= MOST_BYTES, path


@each_adapter
def test_card_says_what_how_and_how_well(reference: str) -> None:
    folder = SHIPPED.read(reference)
    card, manifest = folder.files[CARD_FILE].decode(), folder.manifest
    assert manifest.data.licence in card and manifest.data.source in card
    assert manifest.data.licence and manifest.data.source and manifest.data.n_rows["train"]
    for name, value in manifest.training.hyperparameters.items():
        is_worded = value is None or isinstance(value, bool)  # the card says these two in its own words
        assert (f"| {name} | " if is_worded else f"| {name} | {value} |") in card
    assert f"| seed | {manifest.training.seed} |" in card
    measured = [metric for metric in manifest.metrics if metric.split == "test"]
    assert measured
    for metric in measured:
        assert metric.n_rows == manifest.data.n_rows["test"]
        assert metric.name in card and f"{metric.value:.4f}" in card


@each_adapter
def test_version_verifies_on_the_embedded_base(reference: str, base: Base) -> None:
    SHIPPED.verify(reference, base.shapes)  # raises where a digest, the structure or the base is another
    difference = verify_probe(SHIPPED.read(reference), base)
    assert difference is not None
    assert difference < 1e-3


@each_adapter
def test_production_points_to_a_version(reference: str) -> None:
    assert "production" in SHIPPED.aliases(reference.partition("@")[0])


@each_adapter
def test_stock_peft_gives_the_runtimes_answers_from_the_versions_folder(
        reference: str, base: Base, answers: dict[str, list[torch.Tensor]]) -> None:
    manifest, folder = SHIPPED.read(reference).manifest, SHIPPED.local_path(reference)
    assert folder
    model = stock_model(base.source.folder, manifest.task, len(manifest.labels), folder)
    for row, answer in zip(ROWS[manifest.task], answers[reference], strict=True):
        stock = stock_outputs(base.source.folder, model, *(row if isinstance(row, tuple) else (row,)))
        torch.testing.assert_close(answer, stock, rtol=TOLERANCE, atol=TOLERANCE)


def test_wheel_carries_the_registry_to_where_settings_look_for_it(tmp_path: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    target = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]["registry"]
    (tmp_path / target).mkdir(parents=True)
    monkeypatch.setattr("adapterhub.settings.__file__", str(tmp_path / "adapterhub" / "settings.py"))
    assert Settings.from_environment({"HOME": str(tmp_path)}).shipped_registry == tmp_path / target
