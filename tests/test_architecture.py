"""The code keeps to the files and the direction of imports that ARCHITECTURE.md states."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from list_files import PACKAGE, ROOT, file_list, part_of, stated_levels

LEVELS = stated_levels()
FACE = {PACKAGE / "__init__.py", PACKAGE / "__main__.py"}
FILES = sorted(set(PACKAGE.rglob("*.py")) - FACE)
TORCH = {"torch", "transformers", "peft", "accelerate"}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}


def imports_of(path: Path) -> set[str]:
    """Every module that a file names, nested imports too; `from a import b` is `a.b` where that is a module."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            assert node.module
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return found


def own_parts(names: set[str]) -> set[str]:
    """The package's parts among imported names."""
    parts = [name.split(".") for name in names]
    return {part[1] for part in parts if part[0] == "adapterhub" and len(part) > 1}


def torch_free(part: str) -> bool:
    return LEVELS.get(part, 9) < 2 or part in ("registry", "data")


def test_list_of_files_is_what_is_there() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    listed = text.partition("<!-- files: generated -->")[2].partition("<!-- files: end -->")[0]
    assert listed.strip() == file_list(), "run scripts/document"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=module_of)
def test_file_says_its_idea_in_its_first_line(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring
    assert docstring.partition("\n")[0].endswith((".", ":", "?")), docstring


def test_every_part_of_the_package_has_a_level_and_every_stated_part_exists() -> None:
    assert {part_of(path) for path in FILES} - {"examples"} == LEVELS.keys()


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_point_down(path: Path) -> None:
    own = part_of(path)
    for part in own_parts(imports_of(path)) - {own, "examples", "errors"}:
        assert LEVELS[part] < LEVELS[own], f"{own} (level {LEVELS[own]}) imports {part} (level {LEVELS[part]})"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_nothing_inside_imports_the_packages_face(path: Path) -> None:
    assert "adapterhub" not in imports_of(path)


def test_no_modules_form_a_cycle() -> None:
    graph = {name: (imports_of(path) & MODULES.keys()) - {name} for name, path in MODULES.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError with the cycle


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_no_torch_where_none_is_needed(path: Path) -> None:
    if torch_free(part_of(path)):
        assert not {name.split(".")[0] for name in imports_of(path)} & TORCH


def test_parts_without_torch_load_none_through_others() -> None:
    names = sorted({module_of(path) for path in FILES if torch_free(part_of(path))})
    code = f"import {', '.join(names)}, sys; print(sorted(set(sys.modules) & {TORCH!r}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_table_of_levels_is_read_whole() -> None:
    rows = re.findall(r"^\| \d ", (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(rows) == len(set(LEVELS.values()))
