"""Drawn rows: as many as asked for, none of them in two parts, the same each time."""

import gzip
import json
from pathlib import Path

from adapterhub.costs.drawn import drawn_rows


def texts_of(folder: Path) -> dict[str, list[str]]:
    return {part: [json.loads(line)["text"] for line in (folder / f"{part}.jsonl").read_text().splitlines()]
            for part in ("train", "validation", "test")}


def write(source: Path, part: str, n_rows: int, *, is_packed: bool = False) -> None:
    source.mkdir(exist_ok=True)
    text = "".join(json.dumps({"text": f"{part} {i}", "label": "a"}) + "\n" for i in range(n_rows))
    if is_packed:
        (source / f"{part}.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    else:
        (source / f"{part}.jsonl").write_text(text)


def test_rows_are_drawn_without_the_validation_rows(tmp_path: Path) -> None:
    write(tmp_path / "source", "train", 900, is_packed=True)
    write(tmp_path / "source", "test", 30)
    folder = drawn_rows(tmp_path / "source", 300, tmp_path / "first")
    parts = texts_of(folder)
    assert folder.name == "source-300"
    assert [len(rows) for rows in parts.values()] == [300, 500, 30]
    assert len({text for rows in parts.values() for text in rows}) == 830
    assert texts_of(drawn_rows(tmp_path / "source", 300, tmp_path / "second")) == parts


def test_given_validation_rows_are_all_kept(tmp_path: Path) -> None:
    for part, n_rows in (("train", 50), ("validation", 7), ("test", 9)):
        write(tmp_path / "source", part, n_rows)
    parts = texts_of(drawn_rows(tmp_path / "source", 20, tmp_path))
    assert [len(rows) for rows in parts.values()] == [20, 7, 9]
    assert parts["validation"] == [f"validation {i}" for i in range(7)]
