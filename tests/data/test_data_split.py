"""A split parts the rows: none lost, none twice, classes in proportion, and a seed always gives the same."""

from collections import Counter
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import Rows, intent_rows, write_rows

from adapterhub.data.columns import Columns
from adapterhub.data.split import SplitPlan, read_splits, read_test_rows, split_rows
from adapterhub.errors import DataError

TEXTS = Columns(required=("text", "label"))
BY_LABEL = SplitPlan(stratify_by="label")


def numbered(counts: dict[str, int]) -> Rows:
    return [{"text": f"{label} {i}", "label": label} for label, count in counts.items() for i in range(count)]


some_counts = st.dictionaries(st.sampled_from("abcdef"), st.integers(3, 40), min_size=1)


@settings(max_examples=60, deadline=None)
@given(counts=some_counts, seed=st.integers(0, 2**31))
def test_split_is_a_partition_that_keeps_the_order(counts: dict[str, int], seed: int) -> None:
    rows = numbered(counts)
    parts = split_rows(rows, SplitPlan(stratify_by="label", seed=seed))
    place = {row["text"]: i for i, row in enumerate(rows)}
    places = [[place[row["text"]] for row in part] for part in parts]
    assert sorted(chain.from_iterable(places)) == list(range(len(rows)))
    assert all(part == sorted(part) for part in places)


@settings(max_examples=60, deadline=None)
@given(counts=some_counts, seed=st.integers(0, 2**31))
def test_each_class_keeps_its_share_within_one_row(counts: dict[str, int], seed: int) -> None:
    plan = SplitPlan(stratify_by="label", seed=seed)
    for fraction, part in zip(plan.fractions, split_rows(numbered(counts), plan), strict=True):
        found = Counter(row["label"] for row in part)
        assert all(found[label] >= 1 for label in counts)
        # 15 % of fewer than 7 rows is less than the one row that every part is owed.
        assert all(abs(found[label] - fraction * count) < 1 for label, count in counts.items() if count >= 7)


@settings(max_examples=20, deadline=None)
@given(counts=some_counts, seed=st.integers(0, 2**31))
def test_same_seed_gives_the_same_split(counts: dict[str, int], seed: int) -> None:
    plan = SplitPlan(stratify_by="label", seed=seed)
    assert split_rows(numbered(counts), plan) == split_rows(numbered(counts), plan)


def test_another_seed_gives_another_split() -> None:
    rows = numbered({"a": 40, "b": 40})
    assert split_rows(rows, BY_LABEL) != split_rows(rows, SplitPlan(stratify_by="label", seed=1))


def test_part_without_a_fraction_stays_empty() -> None:
    train, validation, test = split_rows(numbered({"a": 10}), SplitPlan(fractions=(0.8, 0.0, 0.2)))
    assert (len(train), validation, len(test)) == (8, [], 2)


def test_class_too_rare_to_split_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"into 3 parts: lost \(2\)") as caught:
        split_rows(numbered({"card": 9, "lost": 2}), BY_LABEL)
    assert "at least 3 rows" in str(caught.value)


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(DataError, match=r"into 3 parts: all \(2\)"):
        split_rows(numbered({"a": 2}), SplitPlan())


def test_one_class_only_is_refused_by_name(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "r.csv", numbered({"card": 9}))
    with pytest.raises(DataError, match="All 9 rows have the label 'card'"):
        read_splits(str(path), columns=TEXTS, given={}, plan=BY_LABEL)


def test_file_is_split_and_named_after_itself(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "bank.csv.gz", intent_rows(3, 20))
    splits = read_splits(str(path), columns=TEXTS, given={}, plan=BY_LABEL)
    assert (splits.name, splits.n_rows) == ("bank", {"train": 42, "validation": 9, "test": 9})


def test_digest_follows_the_rows(tmp_path: Path) -> None:
    def digest(rows: Rows) -> str:
        path = write_rows(tmp_path / "r.csv", rows)
        return read_splits(str(path), columns=TEXTS, given={}, plan=BY_LABEL).digest

    rows = intent_rows(2, 6)
    changed = [*rows[:-1], {**rows[-1], "text": "another"}]
    assert digest(rows) == digest(rows) != digest(changed)


def test_folder_keeps_the_parts_it_has(tmp_path: Path) -> None:
    parts = {"train.csv": 12, "dev.jsonl": 4, "test.parquet": 5}
    for name, count in parts.items():
        write_rows(tmp_path / name, numbered({f"{name[0]}1": count, f"{name[0]}2": count}))
    splits = read_splits(str(tmp_path), columns=TEXTS, given={}, plan=BY_LABEL)
    assert splits.n_rows == {"train": 24, "validation": 8, "test": 10}
    assert read_test_rows(str(tmp_path), columns=TEXTS, given={}) == splits.test


def test_missing_part_of_a_folder_is_split_off_the_training_rows(tmp_path: Path) -> None:
    write_rows(tmp_path / "train.csv", numbered({"a": 20, "b": 20}))
    write_rows(tmp_path / "test.csv", numbered({"a": 3, "b": 3}))
    splits = read_splits(str(tmp_path), columns=TEXTS, given={}, plan=BY_LABEL)
    assert splits.n_rows["test"] == 6
    assert splits.n_rows["train"] + splits.n_rows["validation"] == 40
    assert splits.n_rows["validation"] > 0


def test_folder_without_a_train_file_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.csv", numbered({"a": 3}))
    with pytest.raises(DataError, match=r"no train file, it holds rows\.csv"):
        read_splits(str(tmp_path), columns=TEXTS, given={}, plan=BY_LABEL)


def test_folder_with_two_train_files_is_refused(tmp_path: Path) -> None:
    for name in ("train.csv", "train.jsonl"):
        write_rows(tmp_path / name, numbered({"a": 3}))
    with pytest.raises(DataError, match=r"several train files: train\.csv, train\.jsonl"):
        read_splits(str(tmp_path), columns=TEXTS, given={}, plan=BY_LABEL)


def test_folder_without_a_test_file_cannot_be_measured_on(tmp_path: Path) -> None:
    write_rows(tmp_path / "train.csv", numbered({"a": 3}))
    with pytest.raises(DataError, match="holds no test file"):
        read_test_rows(str(tmp_path), columns=TEXTS, given={})


def test_source_that_is_nothing_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="No such file, folder or Hugging Face data set: no-such-data-set"):
        read_splits("no-such-data-set", columns=TEXTS, given={}, plan=BY_LABEL)
