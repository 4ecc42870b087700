"""A folder is kept only if the runtime answers its probe as training did."""

from pathlib import Path

import pytest

from adapterhub.errors import InvalidFolder, TrainingError
from adapterhub.making import make_adapter, train
from adapterhub.runtime import measure
from adapterhub.settings import Settings
from adapterhub.training.config import TrainConfig


@pytest.fixture
def config(tiny_base_folder: Path, tiny_rows: dict[str, Path], tmp_path: Path) -> TrainConfig:
    return TrainConfig(task="text-classification", data=str(tiny_rows["intents3"]), base=str(tiny_base_folder),
                       output=tmp_path / "out", epochs=1, rank=2, max_length=32)


def test_folder_that_the_runtime_answers_alike_is_kept(config: TrainConfig, tiny_settings: Settings) -> None:
    assert make_adapter(config, tiny_settings).folder == config.output


def test_folder_that_the_runtime_answers_otherwise_is_not_kept(config: TrainConfig, tiny_settings: Settings,
                                                               tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "PROBE_TOLERANCE", -1.0)
    with pytest.raises(InvalidFolder, match="its probe differs by"):
        make_adapter(config, tiny_settings)
    assert list(tmp_path.iterdir()) == []


def test_full_fine_tuning_is_no_adapter(config: TrainConfig, tiny_settings: Settings) -> None:
    full = TrainConfig(**{name: getattr(config, name) for name in ("task", "data", "epochs", "base", "output",
                                                                   "max_length")}, method="full")
    with pytest.raises(TrainingError, match=r"Method 'full' gives no adapter"):
        train(full, tiny_settings)
