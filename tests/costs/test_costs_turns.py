"""Two arms in processes of their own take their steps in turn, and their figures are what lies on the disk."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from adapterhub.adapter.folder import read_folder
from adapterhub.costs.figures import ArmFigures
from adapterhub.costs.turns import ArmSettings, run_arms
from adapterhub.errors import TrainingError
from adapterhub.progress import Progress


class Notes:
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        self.total = 0
        self.told: list[tuple[int, str]] = []

    def update(self, completed: int, note: str = "") -> None:
        self.told.append((completed, note))

    @contextmanager
    def show(self, title: str, total: int) -> Iterator[Progress]:
        self.total = total
        yield self


class Compared(NamedTuple):
    place: Path
    adapter: ArmFigures
    full: ArmFigures
    notes: Notes


def settings_of(method: str, base: Path, data: Path, *, epochs: int = 2) -> ArmSettings:
    return ArmSettings(method=method, task="text-classification", data=data, base=str(base), epochs=epochs,
                       batch_size=8, max_length=32)


@pytest.fixture(scope="module")
def compared(tiny_base_folder: Path, tiny_rows: dict[str, Path],
             tmp_path_factory: pytest.TempPathFactory) -> Compared:
    place, notes = tmp_path_factory.mktemp("compared"), Notes()
    arms = {place / method: settings_of(method, tiny_base_folder, tiny_rows["intents3"]) for method in ("lora", "full")}
    adapter, full = run_arms(arms, notes.show)
    return Compared(place, adapter, full, notes)


def test_arms_take_their_steps_in_turn(compared: Compared) -> None:
    steps = [note for done, note in compared.notes.told[:compared.notes.total]]
    assert steps == ["lora", "full"] * (compared.notes.total // 2)
    assert compared.notes.told[-1][0] == compared.notes.total == compared.adapter.n_steps + compared.full.n_steps


def test_both_arms_have_the_same_rows_and_steps(compared: Compared) -> None:
    adapter, full = compared.adapter, compared.full
    assert (adapter.n_steps, adapter.epochs, adapter.n_test_rows) == (full.n_steps, full.epochs, full.n_test_rows)
    assert (adapter.epochs, adapter.n_steps) == (2, 10)  # 36 of 42 rows, validation rows included, 8 a step


def test_figures_are_those_of_the_files(compared: Compared) -> None:
    folder = read_folder(compared.place / "lora")
    assert compared.adapter.trained_parameters == folder.manifest.method.n_parameters
    assert compared.adapter.disk_bytes == sum(map(len, folder.files.values()))
    assert compared.adapter.metrics["accuracy"] == folder.manifest.metric("accuracy")
    assert compared.full.disk_bytes > (compared.place / "full" / "model.safetensors").stat().st_size


def test_full_arm_trains_every_parameter(compared: Compared) -> None:
    from safetensors import safe_open

    with safe_open(compared.place / "full" / "model.safetensors", "np") as file:
        sizes = [file.get_tensor(name).size for name in file.keys()]  # noqa: SIM118  # no mapping
    assert compared.full.trained_parameters == sum(sizes)
    assert compared.full.trained_parameters > compared.adapter.trained_parameters


def test_memory_and_time_were_measured(compared: Compared) -> None:
    for arm in (compared.adapter, compared.full):
        assert arm.peak_memory_bytes > 0
        assert 0 < arm.step_seconds <= arm.train_seconds


def test_fault_of_an_arm_is_told_in_its_own_words(tiny_base_folder: Path, tmp_path: Path) -> None:
    arms = {tmp_path / "out": settings_of("lora", tiny_base_folder, tmp_path / "absent.csv")}
    with pytest.raises(TrainingError, match=r"The arm lora failed: No such file: .*absent\.csv"):
        run_arms(arms)
    assert not (tmp_path / "out").exists()


def test_arm_that_ends_without_a_word_is_an_error(tiny_base_folder: Path, tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapterhub.costs.turns.sys.executable", shutil.which("false"))
    with pytest.raises(TrainingError, match="The arm lora ended early: exit code 1"):
        run_arms({tmp_path / "out": settings_of("lora", tiny_base_folder, tmp_path)})
