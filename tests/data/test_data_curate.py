"""Rows made ready: labels renamed, doubles and contradictions found, and left out where that is asked."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapterhub.data.columns import Columns
from adapterhub.data.curate import Curated, Curation, read_curated
from adapterhub.data.read import Rows
from adapterhub.data.split import SplitPlan, read_splits
from adapterhub.errors import DataError, InvalidConfig, UnknownName

TEXTS = Columns(required=("text", "label"), optional=("text_pair",))
TAGGED = Columns(required=("tokens", "tags"))
PAIRS = Columns(required=("query", "answer"), optional=("score",))
BY_LABEL = SplitPlan(stratify_by="label")
CLEANED = Curation(is_cleaned=True)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def texts(*pairs: tuple[str, str]) -> Rows:
    return [{"text": text, "label": label} for text, label in pairs]


def many(count: int = 20, start: str = "t") -> Rows:
    return texts(*((f"{start}{i} {label}", label) for i in range(count) for label in "ab"))


def curated(source: Path, curation: Curation | None = None, columns: Columns = TEXTS,
            plan: SplitPlan = BY_LABEL) -> Curated:
    return read_curated(str(source), columns=columns, given={}, plan=plan, curation=curation or Curation())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["x", "X ", "y", "z  z", "z z"]), st.sampled_from("ab")), min_size=6,
                max_size=40), st.integers(0, 9))
def test_what_is_not_cleaned_is_split_as_ever(tmp_path_factory: pytest.TempPathFactory,
                                               pairs: list[tuple[str, str]], seed: int) -> None:
    rows = write(tmp_path_factory.mktemp("rows") / "rows.jsonl", texts(*pairs) + many(3))
    plan = replace(BY_LABEL, seed=seed)
    plain = read_splits(str(rows), columns=TEXTS, given={}, plan=plan)
    assert curated(rows, plan=plan).splits == plain


def test_rows_that_differ_in_white_space_and_case_alone_are_repeated(tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.jsonl", many() + texts(("T0  A", "a"), (" t1\tb", "b"), ("t0a", "a")))
    found = curated(rows)
    assert (found.report.n_repeated, found.report.n_removed) == (2, 0)
    assert sum(found.splits.n_rows.values()) == 43


def test_asked_for_repeated_rows_are_left_out_and_the_first_stays(tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.jsonl", many() + texts(("T0  A", "a"), (" t1\tb", "b"), ("t0a", "a")))
    found = curated(rows, CLEANED)
    left = [row["text"] for part in (found.splits.train, found.splits.validation, found.splits.test) for row in part]
    assert found.report.n_removed == 2
    assert len(left) == 41
    assert {"t0 a", "t1 b", "t0a"} <= set(left)


def folder_with_shared_rows(folder: Path) -> Path:
    write(folder / "train.jsonl", many() + texts(("Seen in  test", "a"), ("seen in both", "a")))
    write(folder / "validation.jsonl", many(2, "v") + texts(("seen in both", "b"), ("also in test", "a")))
    write(folder / "test.jsonl", many(2, "w") + texts(("seen in test", "b"), ("also in test", "a")))
    return folder


def test_rows_across_parts_are_told_whatever_their_answer(tmp_path: Path) -> None:
    found = curated(folder_with_shared_rows(tmp_path / "rows"))
    assert found.report.n_shared == {"train": 2, "validation": 1}
    assert found.report.n_repeated == 0
    assert found.splits.n_rows == {"train": 42, "validation": 6, "test": 6}


def test_of_rows_across_parts_the_one_that_is_learned_goes(tmp_path: Path) -> None:
    found = curated(folder_with_shared_rows(tmp_path / "rows"), CLEANED)
    assert found.splits.n_rows == {"train": 40, "validation": 5, "test": 6}
    assert found.report.n_removed == 3
    assert not {"seen in test", "seen in both"} & {row["text"].lower() for row in found.splits.train}


def test_one_text_with_several_labels_is_told_with_them(tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.jsonl", many() + texts(("What now", "a"), ("what  NOW", "b"), ("what now", "a")))
    report = curated(rows).report
    assert report.n_conflicts == 1
    assert [(conflict.text, conflict.answers) for conflict in report.conflicts] == [("What now", ["a", "b"])]


def test_contradicting_tags_are_told_by_the_words_that_they_are_at(tmp_path: Path) -> None:
    tagged = [{"tokens": ["in", "Rome", str(i // 2)], "tags": ["O", "B-LOC" if i % 2 else "O", "O"]} for i in range(8)]
    report = curated(write(tmp_path / "rows.jsonl", tagged), columns=TAGGED, plan=SplitPlan()).report
    assert (report.conflicts[0].text, report.conflicts[0].answers) == ("in Rome 0", ["no entity", "Rome B-LOC"])


def test_several_labels_of_one_text_have_no_order(tmp_path: Path) -> None:
    rows = [{"text": f"t{i // 2}", "labels": ["a", "b"] if i % 2 else ["b", "a"]} for i in range(20)]
    report = curated(write(tmp_path / "rows.jsonl", rows), columns=Columns(required=("text", "labels")),
                     plan=SplitPlan()).report
    assert (report.n_conflicts, report.n_repeated) == (0, 10)


def test_several_answers_to_one_question_contradict_each_other_only_where_they_are_scored(tmp_path: Path) -> None:
    pairs = [{"query": f"q{i // 2}", "answer": f"a{i}"} for i in range(40)]
    plain = curated(write(tmp_path / "plain.jsonl", pairs), columns=PAIRS, plan=SplitPlan()).report
    scored = [{**pair, "score": i % 3} for i, pair in enumerate([*pairs, pairs[0]])]
    assert plain.n_conflicts == 0
    report = curated(write(tmp_path / "scored.jsonl", scored), columns=PAIRS, plan=SplitPlan()).report
    assert [conflict.answers for conflict in report.conflicts] == [["0", "1"]]


def test_a_class_that_cleaning_leaves_too_rare_is_told(tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.jsonl", many() + texts(("same", "c"), ("SAME", "c"), ("other", "c")))
    curated(rows)
    with pytest.raises(DataError, match=r"Too few rows to split into 3 parts: c \(2\)\."):
        curated(rows, CLEANED)


def test_renamed_labels_count_as_one(tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.jsonl", many() + texts(*((f"u{i}", "c") for i in range(6))))
    found = curated(rows, Curation(label_names={"c": "a"}))
    assert found.report.parts[0].labels == {"a": 18, "b": 14}
    assert {row["label"] for row in found.splits.test} == {"a", "b"}


def test_renamed_entity_types_keep_their_places_and_may_become_none(tmp_path: Path) -> None:
    tagged = [{"tokens": list("abc"), "tags": ["B-PER", "I-PER", "B-ORG"]} for _ in range(5)]
    found = curated(write(tmp_path / "rows.jsonl", tagged), Curation(label_names={"PER": "WHO", "ORG": "O"}),
                    columns=TAGGED, plan=SplitPlan())
    assert found.splits.test[0]["tags"] == ["B-WHO", "I-WHO", "O"]


def test_an_old_label_that_no_row_has_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"Unknown label in label_map 'A'; known: a, b\."):
        curated(write(tmp_path / "rows.jsonl", many()), Curation(label_names={"A": "b"}))


def test_renaming_where_rows_have_no_labels_is_refused(tmp_path: Path) -> None:
    pairs = [{"query": f"q{i}", "answer": f"a{i}"} for i in range(9)]
    with pytest.raises(InvalidConfig, match="rows of this task have none"):
        curated(write(tmp_path / "rows.jsonl", pairs), Curation(label_names={"a": "b"}), PAIRS, SplitPlan())


def test_the_report_counts_what_training_takes(tmp_path: Path) -> None:
    found = curated(folder_with_shared_rows(tmp_path / "rows"), CLEANED)
    told = found.report.to_dict()["parts"]
    assert {name: part["n_rows"] for name, part in told.items()} == found.splits.n_rows
    assert told["validation"]["labels"] == {"a": 2, "b": 3}
