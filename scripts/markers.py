"""Generated parts of Markdown files: what stands between two markers is a script's, the rest is a person's."""

import sys
from collections.abc import Mapping
from pathlib import Path


def replaced(text: str, parts: Mapping[str, str]) -> str:
    """Return `text` with each part put between its own markers. Raises ValueError where a marker is missing."""
    for name, part in parts.items():
        begin, end = f"<!-- {name}: generated -->", f"<!-- {name}: end -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"there must be one {begin} and one {end}")
        before, rest = text.split(begin)
        text = f"{before}{begin}\n\n{part.strip()}\n\n{end}{rest.split(end)[1]}"
    return text


def write_or_print(path: Path, parts: Mapping[str, str]) -> int:
    """Put the parts into a file where `--write` is given, else print them. Returns the exit code."""
    if "--write" in sys.argv[1:]:
        path.write_text(replaced(path.read_text(encoding="utf-8"), parts), encoding="utf-8")
    else:
        print("\n\n".join(parts.values()))
    return 0
