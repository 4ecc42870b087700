"""Rows that stay on the disk are divided, counted and told as those in memory."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny import Rows, entity_rows, intent_rows, write_rows

from adapterhub.data import pieces
from adapterhub.data.columns import Columns
from adapterhub.data.curate import Curated, Curation, read_curated
from adapterhub.data.pieces import in_pieces
from adapterhub.data.split import PARTS, SplitPlan
from adapterhub.data.stream import Streamed, read_streamed
from adapterhub.errors import DataError, UnknownName

TEXTS = Columns(required=("text", "label"), optional=("text_pair",))
TAGGED = Columns(required=("tokens", "tags"))
BY_LABEL = SplitPlan(stratify_by="label", seed=3)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_ROWS", 7)
    monkeypatch.setattr(in_pieces, "__defaults__", (7,))


def rows_with_doubles() -> Rows:
    rows = intent_rows(3)
    return [*rows, {**rows[0], "text": rows[0]["text"].upper()}, {**rows[5], "label": rows[4]["label"]}, rows[9]]


def both(source: Path, columns: Columns, plan: SplitPlan, curation: Curation) -> tuple[Curated, Streamed]:
    whole = read_curated(str(source), columns=columns, given={}, plan=plan, curation=curation)
    return whole, read_streamed(str(source), columns=columns, given={}, plan=plan, curation=curation)


def require_equal(whole: Curated, streamed: Streamed) -> None:
    assert streamed.report == whole.report
    assert streamed.digests == whole.digests
    for part in PARTS:
        assert list(streamed.rows_of(part)) == whole.rows_of(part)
        assert len(streamed.rows_of(part)) == len(whole.rows_of(part))


@pytest.mark.parametrize("is_cleaned", [False, True])
@pytest.mark.parametrize("kind", ["csv", "jsonl.gz", "parquet"])
def test_a_file_is_divided_as_in_memory(kind: str, is_cleaned: bool, tmp_path: Path) -> None:
    path = write_rows(tmp_path / f"rows.{kind}", rows_with_doubles())
    whole, streamed = both(path, TEXTS, BY_LABEL, Curation(is_cleaned=is_cleaned, label_names={"card": "loan"}))
    require_equal(whole, streamed)
    assert whole.report.n_repeated == 2
    assert whole.report.n_conflicts == 1
    assert streamed.labels_of("train") == whole.labels_of("train")


def test_a_folder_with_parts_is_read_as_in_memory(tmp_path: Path) -> None:
    write_rows(tmp_path / "train.jsonl", entity_rows(20))
    write_rows(tmp_path / "test.csv", entity_rows(9))
    whole, streamed = both(tmp_path, TAGGED, SplitPlan(), Curation(is_cleaned=True))
    require_equal(whole, streamed)
    assert streamed.rows_of("test")[2] == whole.splits.test[2]


def test_a_fault_is_told_by_its_row_in_the_file(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [*intent_rows(3), {"text": " ", "label": "card"}, *intent_rows(3)]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    with pytest.raises(DataError, match=r"rows\.jsonl: row 43 has no text\."):
        read_streamed(str(path), columns=TEXTS, given={}, plan=BY_LABEL, curation=Curation())


@pytest.mark.parametrize(("first", "later", "told"), [
    ({"text": "a", "label": "x"}, {"text": "a", "label": "y", "text_pair": "b"}, "row 15 has a text_pair, and the"),
    ({"text": "a", "label": "x", "text_pair": "b"}, {"text": "a", "label": "y"}, "row 15 has no text_pair"),
])
def test_a_field_that_only_some_pieces_have_is_told(first: dict[str, str], later: dict[str, str], told: str,
                                                    tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in [first] * 14 + [later] * 7))
    with pytest.raises(DataError, match=told):
        read_streamed(str(path), columns=TEXTS, given={}, plan=BY_LABEL, curation=Curation())


def test_an_old_label_that_no_row_has_is_refused(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", intent_rows(3))
    with pytest.raises(UnknownName, match="known: card, loan, travel"):
        read_streamed(str(path), columns=TEXTS, given={}, plan=BY_LABEL, curation=Curation(label_names={"x": "y"}))


@pytest.mark.parametrize("change", [lambda text: text.split("\n", 1)[1], lambda text: text + text])
def test_a_file_that_changes_while_it_is_read_is_told(change: Callable[[str], str], tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", intent_rows(3))
    streamed = read_streamed(str(path), columns=TEXTS, given={}, plan=BY_LABEL, curation=Curation())
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=r"rows\.jsonl was changed while it was read\. Use a copy"):
        list(streamed.rows_of("train"))


def hub_with(monkeypatch: pytest.MonkeyPatch, folder: Path, parts: dict[str, Rows]) -> None:
    """Put a data set on a hub of this process, with labels as numbered classes, in files as `datasets` maps them."""
    import datasets

    names = sorted({row["label"] for rows in parts.values() for row in rows})
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
    for part, rows in parts.items():
        datasets.Dataset.from_list(rows, features=features).save_to_disk(folder / part)
    monkeypatch.setattr(datasets, "load_dataset", lambda name, config: datasets.DatasetDict(
        {part: datasets.load_from_disk(folder / part) for part in parts}))


@pytest.mark.parametrize("is_cleaned", [False, True])
def test_a_data_set_of_the_hub_is_read_as_in_memory(is_cleaned: bool, tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    hub_with(monkeypatch, tmp_path, {"train": rows_with_doubles(), "test": intent_rows(3)[::5]})
    given = {"columns": TEXTS, "given": {}, "plan": BY_LABEL,
             "curation": Curation(is_cleaned=is_cleaned, label_names={"card": "loan"})}
    whole, streamed = read_curated("someone/rows:small", **given), read_streamed("someone/rows:small", **given)
    require_equal(whole, streamed)
    assert streamed.report.name == "someone/rows:small"
    assert whole.report.n_repeated == 2
    assert streamed.rows_of("train")[0]["label"] in ("loan", "travel")


def test_a_row_at_fault_in_a_data_set_is_told_by_its_part_and_number(tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    hub_with(monkeypatch, tmp_path, {"train": [*intent_rows(3)[:20], {"text": "", "label": "card"}]})
    with pytest.raises(DataError, match=r"^someone/rows train: row 21 has no text"):
        read_streamed("someone/rows", columns=TEXTS, given={}, plan=BY_LABEL, curation=Curation())


def test_a_data_set_without_train_has_nothing_to_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_with(monkeypatch, tmp_path, {"extra": intent_rows(3)})
    with pytest.raises(DataError, match="someone/rows has no train part, it has extra"):
        read_streamed("someone/rows", columns=TEXTS, given={}, plan=BY_LABEL, curation=Curation())
