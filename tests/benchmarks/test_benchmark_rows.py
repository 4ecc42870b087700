"""The benchmark of rows, at a size of seconds."""

from pathlib import Path

import pytest
from tiny import intent_rows, write_rows

from adapterhub.bases.load import load_base
from adapterhub.settings import Settings
from benchmarks import rows


def test_a_second_start_is_measured_beside_a_first(tiny_base_folder: Path, tiny_settings: Settings, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MAX_LENGTH", 64)
    (tmp_path / "banking77").mkdir()
    write_rows(tmp_path / "banking77" / "train.jsonl", intent_rows(3, 200))
    base = load_base(str(tiny_base_folder), cache=tiny_settings.cache)
    first, second, ratio = rows._starts("banking77", tmp_path, base, n_rounds=2)
    assert (first.n_runs, second.n_runs, ratio.n_runs) == (2, 2, 2)
    assert 0 < second.value < first.value
    assert ratio.at_least == rows.LEAST_GAINS["banking77"]


def test_rows_are_drawn_by_the_seed(tmp_path: Path) -> None:
    same = [rows._write_rows(tmp_path / name, 10, seed).read_text() for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    assert same[0] == same[1] != same[2]
    assert len(same[0].splitlines()) == 10
