"""Fewer rows of a data set, drawn once and the same on every machine, for comparisons that must end in hours."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

N_VALIDATION = 500
"""Rows left of the training rows to validate with, where the data set brings none."""


def drawn_rows(source: Path, n_rows: int, place: Path) -> Path:
    """Write `n_rows` drawn training rows, and all of the others, as a folder of JSON lines in `place`; return it.

    `source` holds `train`, `test` and perhaps `validation` as `.jsonl`, or `.jsonl.gz`.
    """
    folder = place / f"{source.name}-{n_rows}"
    folder.mkdir(parents=True)
    drawn = lines_of(source, "train")
    random.Random(0).shuffle(drawn)  # noqa: S311  # a draw, not a secret
    validation = lines_of(source, "validation") or drawn[n_rows:n_rows + N_VALIDATION]
    for name, lines in (("train", drawn[:n_rows]), ("validation", validation), ("test", lines_of(source, "test"))):
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return folder


def lines_of(source: Path, part: str) -> list[dict[str, Any]]:
    """Return the rows of one part, none where there is no such file."""
    for path in (source / f"{part}.jsonl", source / f"{part}.jsonl.gz"):
        if path.exists():
            raw = path.read_bytes()
            text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
            return [json.loads(line) for line in text.splitlines()]
    return []
