"""`import adapterhub` gives the few names that a user needs, lazily, and the lines of its docstring run."""

import inspect
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import adapterhub
from adapterhub.settings import Settings


def docstring_lines() -> str:
    """The indented block of the package's docstring."""
    doc = inspect.cleandoc(adapterhub.__doc__ or "").splitlines()
    return textwrap.dedent("\n".join(line for line in doc if line.startswith("    ") or not line))


@pytest.mark.parametrize("name", adapterhub.__all__)
def test_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(adapterhub, name)
    assert value.__name__ == name
    assert inspect.getdoc(value)


def test_names_for_people_and_for_type_checkers_are_the_same() -> None:
    assert sorted(adapterhub.__all__) == sorted(adapterhub._HOMES)
    source = Path(adapterhub.__file__).read_text(encoding="utf-8")
    typed = source.partition("if TYPE_CHECKING:\n")[2].partition("\n\n")[0]
    imported = {name.strip() for line in typed.splitlines() for name in line.partition(" import ")[2].split(",")}
    assert imported == set(adapterhub.__all__)
    assert set(adapterhub.__all__) <= set(dir(adapterhub))


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Registree'"):
        _ = adapterhub.Registree


def test_package_says_that_it_is_typed() -> None:
    assert (Path(adapterhub.__file__).parent / "py.typed").is_file()


def test_registry_is_usable_without_torch() -> None:
    code = ("import sys, adapterhub; assert len(sys.modules) < 200; adapterhub.Registry('nowhere').list(); "
            "assert not {'torch', 'transformers', 'peft'} & sys.modules.keys()")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_lines_of_the_docstring_run(tiny_base_folder: Path, tiny_settings: Settings, tiny_rows: dict[str, Path],
                                    tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    lines = docstring_lines()
    assert "Runtime(\"embedded\", registry)" in lines
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADAPTERHUB_CACHE", str(tiny_settings.cache))
    Path("rows.csv").write_text("text,label\n" + "".join(
        f"{word} {filler},{label}\n" for label, word in (("card", "visa"), ("loan", "house"))
        for filler in ("the", "my", "where", "is", "new", "please", "about", "what")))
    tiny = f"base={str(tiny_base_folder)!r}, max_length=32, epochs=1, data=\"rows.csv\""
    exec(lines.replace('data="rows.csv"', tiny).replace('"embedded"', repr(str(tiny_base_folder))), {})
    version, label = capsys.readouterr().out.split()
    assert version == "support/intents@1"
    assert label in ("card", "loan")
