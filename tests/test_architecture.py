"""The code keeps to the direction of imports that ARCHITECTURE.md states."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "adapterhub"


def stated_levels() -> dict[str, int]:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| (\d) \| ([a-z, _]+) \|", text, flags=re.MULTILINE)
    return {module.strip(): int(level) for level, modules in table for module in modules.split(",")}


LEVELS = stated_levels()
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.name not in
               ("__init__.py", "__main__.py"))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found.add(node.module or "")
    return found


def test_every_part_of_the_package_has_a_level() -> None:
    assert {part_of(path) for path in FILES} - {"examples"} <= LEVELS.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    own = part_of(path)
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] == "adapterhub" and len(parts) > 1 and parts[1] not in (own, "examples", "errors"):
            assert LEVELS[parts[1]] < LEVELS[own], f"{own} (level {LEVELS[own]}) imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_torch_where_none_is_needed(path: Path) -> None:
    if LEVELS.get(part_of(path), 9) < 2 or part_of(path) in ("registry", "data"):
        assert not {name.split(".")[0] for name in imports_of(path)} & {"torch", "transformers", "peft", "accelerate"}
