"""Real rows: what is absent is said in one sentence; names in headlines become tags; messages share no row."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from adapterhub.errors import DataError, InvalidConfig
from adapterhub.settings import Settings
from scripts.scenarios import customer_service, financial_sentiment
from scripts.scenarios.frame import gain_of, share_of
from scripts.scenarios.headlines import Headline, names_f1, tagged
from scripts.scenarios.picture import require_drawing
from scripts.scenarios.rows import draw, read_part


def test_without_a_data_folder_a_scenario_says_what_to_set(tiny_settings: Settings) -> None:
    with pytest.raises(DataError, match=r"no folder of data sets. Set ADAPTERHUB_DATA to a folder"):
        read_part(tiny_settings, "banking77", "test")


def test_absent_part_is_named(tiny_settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "data" / "banking77").mkdir(parents=True)
    with pytest.raises(DataError, match=r"banking77 holds no test rows. Put test.jsonl"):
        read_part(replace(tiny_settings, data=tmp_path), "banking77", "test")


def test_command_without_data_ends_with_one_sentence_and_code_2(tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("ADAPTERHUB_DATA", str(tmp_path))
    for command in (customer_service.main, financial_sentiment.main):
        result = CliRunner().invoke(command, ["--quick"])
        assert result.exit_code == 2
        assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1


@pytest.mark.parametrize(("name", "why"), [("plot.pdf", r"'plot.pdf', expected .svg or .png"),
                                           ("absent/plot.svg", "is no folder")])
def test_picture_that_cannot_be_drawn_is_refused_first(name: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=why):
        require_drawing(tmp_path / name)


def test_drawing_takes_each_item_once_and_the_same_with_the_same_seed() -> None:
    assert sorted(draw(range(10), 99, 1)) == list(range(10))
    assert draw(range(100), 5, 1) == draw(range(100), 5, 1) != draw(range(100), 5, 2)


def test_names_become_tags_on_the_words_that_they_cover() -> None:
    row = tagged(Headline(text="RBI's move lifts Axis Bank, banks gain", sentiment="positive",
                          names=["rbi", "Axis Bank", "absent"]))
    assert row["tokens"] == ["RBI's", "move", "lifts", "Axis", "Bank", ",", "banks", "gain"]
    assert row["tags"] == ["B-NAME", "O", "O", "B-NAME", "I-NAME", "O", "O", "O"]


def test_names_are_compared_without_case() -> None:
    headline = Headline(text="", sentiment="neutral", names=["Sebi", "RBI"])
    assert names_f1([["SEBI", "Other"]], [headline]) == 0.5
    assert names_f1([[]], [headline]) == 0.0


def test_shares_have_intervals_and_gains_are_paired() -> None:
    share = share_of([True] * 30 + [False] * 10)
    assert share.value == 0.75 and 0.55 < share.low < 0.75 < share.high < 0.92 and share.n_rows == 40
    gain = gain_of([1.0] * 40, [0.5] * 40)
    assert (gain.value, gain.low, gain.high) == (0.5, 0.5, 0.5)  # row by row there is no doubt
    assert (share_of([]).low, share_of([]).high) == (0.0, 1.0)
