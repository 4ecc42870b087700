import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapterhub.data.columns import Columns
from adapterhub.data.read import Rows
from adapterhub.data.split import SplitPlan, Splits, read_splits, read_test_rows, split_rows
from adapterhub.errors import DataError
from adapterhub.settings import Settings

PAIRS = Columns(required=("text", "label"), optional=("text_pair",))
BY_LABEL = SplitPlan(stratify_by="label")
counts_of_classes = st.lists(st.integers(3, 60), min_size=1, max_size=6)


def rows_of(counts: list[int], start: str = "") -> Rows:
    return [{"text": f"{start}{label}.{i}", "label": f"c{label}"} for label, n in enumerate(counts) for i in range(n)]


def write(path: Path, rows: Rows) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def splits_of(source: Path, plan: SplitPlan = BY_LABEL) -> Splits:
    return read_splits(str(source), columns=PAIRS, given={}, plan=plan)


@settings(max_examples=60, deadline=None)
@given(counts_of_classes, st.integers(0, 99))
def test_a_split_is_a_partition_with_every_class_in_each_part(counts: list[int], seed: int) -> None:
    rows = rows_of(counts)
    parts = split_rows(rows, replace(BY_LABEL, seed=seed))
    assert sorted(row["text"] for part in parts for row in part) == sorted(row["text"] for row in rows)
    assert all({row["label"] for row in part} == {row["label"] for row in rows} for part in parts)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(7, 80), min_size=1, max_size=5), st.integers(0, 9))
def test_each_class_is_within_one_row_of_its_share(counts: list[int], seed: int) -> None:
    parts = split_rows(rows_of(counts), replace(BY_LABEL, seed=seed))
    for label, n in enumerate(counts):
        for part, fraction in zip(parts, BY_LABEL.fractions, strict=True):
            assert abs(sum(row["label"] == f"c{label}" for row in part) - n * fraction) < 1 + 1e-9


def test_the_seed_alone_decides() -> None:
    rows = rows_of([20, 20])
    assert split_rows(rows, BY_LABEL) == split_rows(rows, BY_LABEL)
    assert split_rows(rows, BY_LABEL) != split_rows(rows, replace(BY_LABEL, seed=1))


def test_the_split_is_the_same_on_every_machine() -> None:
    # Frozen from this very call: a change here would move rows between the parts of published adapters.
    _, validation, test = split_rows(rows_of([10]), SplitPlan())
    assert ([row["text"] for row in validation], [row["text"] for row in test]) == (["0.0", "0.9"], ["0.6"])


def test_rows_without_strata_are_divided_by_number() -> None:
    assert [len(part) for part in split_rows(rows_of([100]), SplitPlan())] == [70, 15, 15]


def test_a_class_too_rare_is_named_with_its_count() -> None:
    with pytest.raises(DataError, match=r"^Too few rows to split into 3 parts: c1 \(2\)\. .* at least 3 rows"):
        split_rows(rows_of([9, 2]), BY_LABEL)


def test_many_rare_classes_are_counted() -> None:
    with pytest.raises(DataError, match=r"c4 \(1\) and 3 more\."):
        split_rows(rows_of([1] * 8), BY_LABEL)


def test_too_few_rows_without_strata_are_told() -> None:
    with pytest.raises(DataError, match=r"^Too few rows to split into 3 parts: all \(2\)\."):
        split_rows(rows_of([2]), SplitPlan())


def test_one_class_only_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^All 9 rows have the label 'c0'\. A classifier needs"):
        splits_of(write(tmp_path / "rows.jsonl", rows_of([9])))


def test_a_file_is_split_and_named_by_its_stem(tmp_path: Path) -> None:
    splits = splits_of(write(tmp_path / "intents.jsonl", rows_of([20, 20])))
    assert (splits.name, splits.n_rows) == ("intents", {"train": 28, "validation": 6, "test": 6})


@pytest.mark.parametrize("name", ["validation", "valid", "val", "dev", "VAL"])
def test_a_folder_with_all_parts_is_kept_as_it_is(tmp_path: Path, name: str) -> None:
    for part, start in (("train", "a"), (name, "b"), ("test", "c")):
        write(tmp_path / "set" / f"{part}.jsonl", rows_of([2, 2], start))
    splits = splits_of(tmp_path / "set")
    assert (splits.train, splits.validation, splits.test) == tuple(rows_of([2, 2], start) for start in "abc")
    assert splits.name == "set"


@pytest.mark.parametrize("given_part", ["validation", "test"])
def test_a_part_that_a_folder_lacks_is_split_off_train(tmp_path: Path, given_part: str) -> None:
    write(tmp_path / "train.jsonl", rows_of([40, 40]))
    write(tmp_path / f"{given_part}.jsonl", rows_of([2, 2], "kept"))
    splits = splits_of(tmp_path)
    assert getattr(splits, given_part) == rows_of([2, 2], "kept")
    other = splits.test if given_part == "validation" else splits.validation
    assert len(splits.train) + len(other) == 80
    assert 0 < len(other) < 20
    assert len(set(Counter(row["label"] for row in other).values())) == 1


def test_a_folder_without_train_is_told_with_what_it_holds(tmp_path: Path) -> None:
    write(tmp_path / "test.jsonl", rows_of([3]))
    with pytest.raises(DataError, match=r"holds no train file, it holds test\.jsonl\. Name the files train"):
        splits_of(tmp_path)


def test_two_files_for_one_part_are_refused(tmp_path: Path) -> None:
    for name in ("train.jsonl", "train.ndjson"):
        write(tmp_path / name, rows_of([3, 3]))
    with pytest.raises(DataError, match=r"holds several train files: train\.jsonl, train\.ndjson\. Keep one"):
        splits_of(tmp_path)


def test_the_digest_follows_the_rows_and_not_the_format(tmp_path: Path) -> None:
    rows = rows_of([9, 9])
    one = splits_of(write(tmp_path / "rows.jsonl", rows))
    (tmp_path / "rows.csv").write_text("label,text,id\n" + "".join(f"{r['label']},{r['text']},7\n" for r in rows))
    assert splits_of(tmp_path / "rows.csv").digest == one.digest
    assert splits_of(write(tmp_path / "rows.jsonl", rows_of([9, 10]))).digest != one.digest


def test_the_test_part_of_a_folder_is_read_for_evaluation(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", rows_of([3, 3]))
    write(tmp_path / "test.jsonl", rows_of([1, 1], "t"))
    assert read_test_rows(str(tmp_path), columns=PAIRS, given={}) == rows_of([1, 1], "t")
    assert read_test_rows(str(tmp_path / "train.jsonl"), columns=PAIRS, given={}) == rows_of([3, 3])


def test_a_folder_without_test_cannot_be_evaluated_on(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", rows_of([3, 3]))
    with pytest.raises(DataError, match="holds no test file"):
        read_test_rows(str(tmp_path), columns=PAIRS, given={})


def fake_hub(monkeypatch: pytest.MonkeyPatch, parts: dict[str, Rows]) -> list[tuple[str, str | None]]:
    import datasets

    asked: list[tuple[str, str | None]] = []

    def load_dataset(name: str, config: str | None) -> Any:
        asked.append((name, config))
        if not parts:
            raise datasets.exceptions.DatasetNotFoundError(f"Dataset '{name}' doesn't exist on the Hub.\nmore")
        return datasets.DatasetDict({part: datasets.Dataset.from_list(rows) for part, rows in parts.items()})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


def test_a_data_set_name_with_a_configuration_keeps_its_own_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = fake_hub(monkeypatch, {"train": rows_of([20, 20]), "test": rows_of([1, 1], "t")})
    splits = read_splits("org/name:small", columns=PAIRS, given={}, plan=BY_LABEL)
    assert asked == [("org/name", "small")]
    assert (splits.name, splits.test, len(splits.validation) > 0) == ("org/name:small", rows_of([1, 1], "t"), True)
    assert read_test_rows("org/name", columns=PAIRS, given={}) == rows_of([1, 1], "t")


def test_a_row_at_fault_in_a_data_set_names_its_part(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_hub(monkeypatch, {"train": [{"text": "a", "label": ""}]})
    with pytest.raises(DataError, match=r"^org/name train: row 1 has no label\."):
        read_splits("org/name", columns=PAIRS, given={}, plan=BY_LABEL)


def test_a_data_set_without_train_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_hub(monkeypatch, {"extra": rows_of([1])})
    with pytest.raises(DataError, match="org/name has no train part, it has extra"):
        read_splits("org/name", columns=PAIRS, given={}, plan=BY_LABEL)


def test_an_unknown_data_set_gets_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_hub(monkeypatch, {})
    with pytest.raises(DataError, match=r"^No such file, folder or Hugging Face data set: nobody/none \(.*\)\. Check"):
        read_splits("nobody/none", columns=PAIRS, given={}, plan=BY_LABEL)


@pytest.mark.parametrize("source", ["rows.csv", "rows.xlsx", "/absent/rows", "./absent", "a/b/c", "~/rows"])
def test_what_can_only_be_a_path_asks_no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str) -> None:
    monkeypatch.chdir(tmp_path)
    asked = fake_hub(monkeypatch, {})
    with pytest.raises(DataError, match=r"^No such file: "):
        read_splits(source, columns=PAIRS, given={}, plan=BY_LABEL)
    assert not asked


REAL = {
    "banking77": (PAIRS, 10_003 + 3_080), "sentfin": (PAIRS, None), "snli": (PAIRS, None),
    "wnut17": (Columns(required=("tokens", "tags")), None), "medquad": (Columns(required=("query", "answer")), None),
}


@pytest.mark.parametrize("name", REAL)
def test_a_real_data_set_is_read_whole(name: str) -> None:
    data = Settings.from_environment().data
    if data is None or not (data / "data" / name).is_dir():
        pytest.skip(f"no {name}: set ADAPTERHUB_DATA")
    columns, n_expected = REAL[name]
    splits = read_splits(str(data / "data" / name), columns=columns, given={},
                         plan=BY_LABEL if columns is PAIRS else SplitPlan())
    assert all(splits.n_rows.values())
    assert set(splits.train[0]) >= set(columns.required)
    assert n_expected is None or sum(splits.n_rows.values()) == n_expected
