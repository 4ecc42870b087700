"""The list of files in ARCHITECTURE.md, from the first line of each: `python scripts/list_files.py [--write]`."""

import ast
import re
import sys
from pathlib import Path

from markers import write_or_print

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "adapterhub"
DOCUMENT = ROOT / "ARCHITECTURE.md"
PART = "files"


def main() -> int:
    """Print the list, or write it into ARCHITECTURE.md."""
    return write_or_print(DOCUMENT, {PART: file_list()})


def file_list() -> str:
    """Return the package's modules by level and then the scripts, one line each."""
    levels = stated_levels()
    modules = sorted(PACKAGE.rglob("*.py"), key=lambda path: (levels.get(part_of(path), -1), str(path)))
    titles: dict[str, list[str]] = {}
    for path in modules:
        level = levels.get(part_of(path))
        title = "Beside the levels" if level is None else f"Level {level}"
        titles.setdefault(title, []).append(_line(path.relative_to(PACKAGE), _first_line(path)))
    titles["scripts/"] = [_line(path.relative_to(ROOT), _first_line(path))
                          for path in sorted((ROOT / "scripts").iterdir()) if path.is_file()]
    return "\n\n".join(f"**{title}**\n\n" + "\n".join(lines) for title, lines in titles.items())


def stated_levels() -> dict[str, int]:
    """Return part of the package -> level, as the table in ARCHITECTURE.md states it."""
    table = re.findall(r"^\| (\d) \| ([a-z, _]+) \|", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {part.strip(): int(level) for level, parts in table for part in parts.split(",")}


def part_of(path: Path) -> str:
    """Return which part of the package a module belongs to: its folder, or its own name."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _line(path: Path, idea: str) -> str:
    return f"- `{path.as_posix()}`: {idea}"


def _first_line(path: Path) -> str:
    """Return a module's idea: the docstring's first line, in a shell script the first comment."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    comments = [line for line in text.splitlines() if line.startswith("# ")]
    return comments[0].removeprefix("# ") if comments else ""


if __name__ == "__main__":
    sys.exit(main())
