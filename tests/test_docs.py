"""What docs/generation.md shows is so: its Python and its commands run, and print what it says."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from language_models import Recipe, write_language_model, write_lora

from adapterhub.bases.load import load_base
from adapterhub.registry import Registry

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "generation.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


def blocks(kind: str) -> list[str]:
    return [text for found, text in BLOCK.findall(TEXT) if found == kind]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("docs")
    base = load_base(str(write_language_model(place / "models" / "llama", "llama")), cache=place / "cache")
    for seed, name in enumerate(("dragons", "pirates")):
        Registry(place / "registry").publish(write_lora(place / name, base, Recipe(seed=seed)), f"stories/{name}")
    return place


def run(command: list[str], place: Path, text: str = "") -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ADAPTERHUB_")}
    environment |= {"HOME": str(place), "HF_HUB_OFFLINE": "1", "ADAPTERHUB_CACHE": str(place / "cache"),
                    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=place, env=environment, input=text, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_as_stated(stated: str, printed: str) -> None:
    assert doctest.OutputChecker().check_output(stated, printed, doctest.ELLIPSIS), f"{stated}\nbut printed:\n{printed}"


def test_python_runs_and_prints_what_is_said(place: Path) -> None:
    assert len(blocks("python")) == len(blocks("text")) == 2
    assert_as_stated("".join(blocks("text")), run([sys.executable, "-"], place, "\n".join(blocks("python"))))


def test_commands_run_and_print_what_is_said(place: Path) -> None:
    console = "".join(blocks("console"))
    lines = [line for line in console.splitlines(keepends=True) if line.startswith(("$ ", "> "))]
    stated = "".join(line for line in console.splitlines(keepends=True) if not line.startswith(("$ ", "> ")))
    assert_as_stated(stated, run(["bash", "-ec", "".join(line[2:] for line in lines)], place))


def test_every_setting_in_the_table_exists() -> None:
    from adapterhub import GenerationSettings, GeneratorConfig

    names = re.findall(r"^\| `(\w+)\.([\w.]+)` \|", TEXT, flags=re.MULTILINE)
    assert len(names) == 4
    for owner, path in names:
        value: object = {"GeneratorConfig": GeneratorConfig(), "GenerationSettings": GenerationSettings()}[owner]
        for part in path.split("."):
            value = getattr(value, part)
