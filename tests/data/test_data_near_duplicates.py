"""Rows that say nearly the same are found, told and left out, in memory as on the disk."""

import importlib.util
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import Rows, write_rows

from adapterhub.data.columns import Columns
from adapterhub.data.curate import Curated, Curation, read_curated
from adapterhub.data.near_duplicates import find_near_repeats, find_near_shared
from adapterhub.data.shingles import Shingles
from adapterhub.data.split import SplitPlan
from adapterhub.data.stream import read_streamed
from adapterhub.errors import InvalidConfig
from adapterhub.settings import Settings

TEXTS = Columns(required=("text", "label"), optional=("text_pair",))
BY_LABEL = SplitPlan(stratify_by="label")
LONG = "please tell me when the card that I ordered two weeks ago will be sent to my new address"
NEARLY = LONG.replace("new address", "new address today")


def sentence(draw: random.Random, n_words: int = 20) -> str:
    return " ".join(f"w{draw.randrange(9999)}" for _ in range(n_words))


def plain_rows(count: int = 30, seed: int = 0) -> Rows:
    draw = random.Random(seed)
    return [{"text": sentence(draw), "label": "ab"[i % 2]} for i in range(count)]


def curated(source: Path, *, near: float | None = 0.8, is_cleaned: bool = False) -> Curated:
    return read_curated(str(source), columns=TEXTS, given={}, plan=BY_LABEL,
                        curation=Curation(near_duplicates=near, is_cleaned=is_cleaned))


def folder_with_near_rows(folder: Path) -> Path:
    folder.mkdir()
    write_rows(folder / "train.jsonl", [*plain_rows(), {"text": NEARLY, "label": "a"}])
    write_rows(folder / "validation.jsonl", [*plain_rows(6, 1), {"text": f"{LONG}, please", "label": "b"}])
    write_rows(folder / "test.jsonl", [*plain_rows(6, 2), {"text": LONG, "label": "a"}])
    return folder


def test_a_row_nearly_like_an_earlier_one_is_told_with_it(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [*plain_rows(), {"text": LONG, "label": "a"},
                                                {"text": NEARLY, "label": "a"}, {"text": LONG.upper(), "label": "a"}])
    report = curated(rows).report
    assert report.near is not None
    assert (report.near.n_repeated, report.n_repeated, report.n_removed) == (1, 1, 0)
    assert report.near.examples == ((NEARLY[:80], LONG[:80]),)
    assert report.facts()["rows_nearly_repeated"] == 1


def test_without_the_wish_nothing_is_told_of_them(tmp_path: Path) -> None:
    report = curated(folder_with_near_rows(tmp_path / "rows"), near=None).report
    assert report.near is None
    assert not [name for name in report.facts() if "nearly" in name]


def test_asked_for_they_are_left_out_and_the_first_stays(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [*plain_rows(), {"text": LONG, "label": "a"},
                                                {"text": NEARLY, "label": "a"}])
    found = curated(rows, is_cleaned=True)
    left = {row["text"] for row in found.rows_of("train", "validation", "test")}
    assert found.report.n_removed == 1
    assert LONG in left
    assert NEARLY not in left


def test_another_answer_makes_another_row(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [*plain_rows(), {"text": LONG, "label": "a"},
                                                {"text": NEARLY, "label": "b"}])
    report = curated(rows).report
    assert report.near is not None
    assert report.near.n_repeated == 0


def test_across_parts_they_are_told_and_the_one_that_is_learned_goes(tmp_path: Path) -> None:
    folder = folder_with_near_rows(tmp_path / "rows")
    kept, cleaned = curated(folder), curated(folder, is_cleaned=True)
    assert kept.report.near is not None
    assert kept.report.near.n_shared == {"train": 1, "validation": 1}
    assert kept.report.n_shared == {"train": 0, "validation": 0}
    assert cleaned.splits.n_rows == {"train": 30, "validation": 6, "test": 7}
    assert cleaned.report.n_removed == 2


@pytest.mark.parametrize("is_cleaned", [False, True])
def test_rows_on_the_disk_are_found_alike(is_cleaned: bool, tmp_path: Path) -> None:
    folder = folder_with_near_rows(tmp_path / "rows")
    curation = Curation(near_duplicates=0.8, is_cleaned=is_cleaned)
    whole = read_curated(str(folder), columns=TEXTS, given={}, plan=BY_LABEL, curation=curation)
    streamed = read_streamed(str(folder), columns=TEXTS, given={}, plan=BY_LABEL, curation=curation)
    assert streamed.report == whole.report
    assert streamed.digests == whole.digests


def test_what_is_the_same_in_one_field_alone_is_not_nearly_the_same() -> None:
    shingles = Shingles()
    shingles.add([LONG, "it was sent yesterday"])
    shingles.add(["it was sent yesterday", LONG])
    shingles.add([["It", "was", "sent", "yesterday!"], LONG])
    assert shingles.likeness(0, 1) == 0
    assert shingles.likeness(1, 2) == 1


def test_chats_are_compared_by_what_is_said() -> None:
    shingles = Shingles()
    for said in ("where is it", "who are you"):
        shingles.add([[{"role": "user", "content": said}]])
    assert shingles.likeness(0, 1) == 0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.5, 0.7, 0.8, 0.9]))
def test_what_is_found_is_as_like_as_asked_and_little_is_missed(seed: int, least: float) -> None:
    draw, shingles, n_like = random.Random(seed), Shingles(), 0
    for row in range(0, 100, 2):
        words = sentence(draw, 60).split()
        other = [f"x{i}" if draw.random() < 0.05 else word for i, word in enumerate(words)]
        shingles.add([" ".join(words)])
        shingles.add([" ".join(other)])
        n_like += shingles.likeness(row, row + 1) >= least
    parts, none = np.zeros(100, dtype=np.int8), np.zeros(100, dtype=bool)
    like = find_near_repeats(parts, shingles, np.zeros(100, dtype=np.uint64), least=least, apart=none)
    found = [(row, other) for row, other in enumerate(like.tolist()) if other >= 0]
    assert all(shingles.likeness(row, other) >= least for row, other in found)
    assert n_like - 5 <= len(found) <= n_like


def test_rows_without_words_are_like_none() -> None:
    shingles = Shingles()
    for text in ("?!", "...", "one", "one two"):
        shingles.add([text])
    none = np.zeros(4, dtype=bool)
    like = find_near_shared(np.array([0, 2, 0, 2], dtype=np.int8), shingles, least=0.5, apart=none)
    assert like.tolist() == [-1, -1, -1, -1]


def test_without_the_extra_it_is_said_how_to_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", plain_rows())
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "datasketch" else find(name))
    with pytest.raises(InvalidConfig, match=r"needs datasketch, which the extra 'duplicates' installs"):
        curated(rows)
    assert curated(rows, near=None).report.near is None


def test_customers_questions_have_many_and_all_that_are_told_are_like() -> None:
    data = Settings.from_environment().data
    if data is None or not (data / "data" / "banking77").is_dir():
        pytest.skip("no banking77: set ADAPTERHUB_DATA")
    found = [curated(data / "data" / "banking77", near=near).report.near for near in (0.9, 0.7)]
    assert found[0] is not None
    assert found[1] is not None
    assert 20 < found[0].n_repeated < found[1].n_repeated
    assert 10 < found[0].n_shared["train"] < found[1].n_shared["train"]
