"""The generation benchmark at a tiny size: real contenders, the same tokens, a figure for each target."""

from pathlib import Path

import pytest
from language_models import write_language_model

from adapterhub.adapter.check import check_folder
from adapterhub.adapter.folder import read_folder
from adapterhub.bases.load import load_base
from adapterhub.settings import Settings
from benchmarks import generate
from benchmarks.language_adapters import REAL_MODELS, language_models, write_language_adapters
from benchmarks.report import Options

QUICK = Options(is_quick=True, is_checked=False, json_file=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_language_model(tmp_path_factory.mktemp("lm") / "base", "llama")


def test_all_contenders_write_and_each_row_equals_pefts(folder: Path, tmp_path: Path,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "N_ROWS", 4)
    monkeypatch.setattr(generate, "N_TOKENS", 3)
    monkeypatch.setattr(generate, "language_models", lambda place: {"tiny": folder})
    figures = {figure.name: figure for figure in generate.measure(QUICK)}
    equal = figures["rows equal to PEFT's, token for token: tiny"]
    assert (equal.value, equal.is_met) == (4, True)
    targets = {name: figure.at_least for name, figure in figures.items() if figure.at_least is not None}
    assert targets == {equal.name: 4, "16 adapters (q and v) over none: tiny": 0.85,
                       "16 adapters over PEFT in turn: tiny": 3.0}
    assert all(figure.value > 0 for figure in figures.values())


def test_made_adapters_fit_the_base_and_each_is_its_own(folder: Path, tmp_path: Path) -> None:
    base = load_base(str(folder), cache=tmp_path / "cache")
    made = write_language_adapters(tmp_path / "made", base, ("q_proj", "v_proj"), rank=2, count=3)
    read = [read_folder(each) for each in made]
    assert [len(check_folder(each, base.shapes).delta_a) for each in read] == [4, 4, 4]
    assert len({each.digest for each in read}) == 3


def test_real_models_are_taken_where_they_are(tmp_path: Path) -> None:
    data = Settings.from_environment().data
    if data is None or not (data / "models").is_dir():
        pytest.skip("no models below ADAPTERHUB_DATA")
    assert tuple(language_models(tmp_path)) == REAL_MODELS


def test_without_real_models_a_random_one_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAPTERHUB_DATA", str(tmp_path / "nothing"))
    (folder,) = language_models(tmp_path).values()
    assert load_base(str(folder), cache=tmp_path / "cache").config.model_type == "llama"
