"""What README.md says is so: its tour is run, its tables are the generator's, its links and names exist."""

import doctest
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from markers import replaced
from readme_tables import ROOT, tables

from adapterhub.searching.space import parse_space
from adapterhub.training.config_file import parse_config

README = (ROOT / "README.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.timeout(900)  # the tour is one fixture: two trainings and as many processes as it has steps
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
EXIT_CODE = re.compile(r"^\[exit code (\d+)\]\n", flags=re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """One thing that the tour does, and what README.md says it prints."""

    kind: str
    code: str
    output: str
    exit_code: int = 0

    def __str__(self) -> str:
        return " ".join(self.code.replace("\n", " ").split())[:50]


@dataclass(frozen=True)
class Outcome:
    """What a step really gave."""

    output: str
    errors: str
    exit_code: int


def console_steps(block: str) -> list[Step]:
    """Split a console block at its `$ `; lines after it that begin with `> ` belong to the command."""
    steps = []
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        more = next((i for i, line in enumerate(lines[1:], start=1) if not line.startswith("> ")), len(lines))
        output = "".join(f"{line}\n" for line in lines[more:])
        code = EXIT_CODE.search(output)
        steps.append(Step("console", "\n".join([lines[0], *(line[2:] for line in lines[1:more])]),
                          EXIT_CODE.sub("", output), int(code.group(1)) if code else 0))
    return steps


def tour_steps() -> list[Step]:
    """Return every console command and Python block in order; a text block right after Python is its output."""
    blocks = BLOCK.findall(README)
    steps: list[Step] = []
    for (kind, text), (next_kind, next_text) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if kind == "console":
            steps += console_steps(text)
        elif kind == "python":
            steps.append(Step("python", text, next_text if next_kind == "text" else ""))
    return steps


STEPS = tour_steps()


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """Run the tour in an empty folder that has nothing of the clone but the example rows."""
    place = tmp_path_factory.mktemp("readme")
    (place / "adapterhub").mkdir()
    (place / "adapterhub" / "examples").symlink_to(ROOT / "adapterhub" / "examples")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ADAPTERHUB_", "XDG_"))}
    environment |= {"HOME": str(place), "HF_HUB_OFFLINE": "1", "COLUMNS": "100",
                    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return [run_step(step, place, environment) for step in STEPS]


def run_step(step: Step, place: Path, environment: dict[str, str]) -> Outcome:
    """Run one step; `export` is remembered for those after it."""
    if step.code.startswith("export "):
        name, _, value = shlex.split(step.code)[1].partition("=")
        environment[name] = value
        return Outcome("", "", 0)
    is_console = step.kind == "console"
    command = ["bash", "-c", step.code] if is_console else [sys.executable, "-c", step.code]
    done = subprocess.run(command, cwd=place, env=environment, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT if is_console else subprocess.PIPE)
    return Outcome(done.stdout, done.stderr or "", done.returncode)


@pytest.mark.parametrize("number", range(len(STEPS)), ids=lambda number: str(STEPS[number]))
def test_tour_does_what_readme_says(number: int, outcomes: list[Outcome]) -> None:
    step, outcome = STEPS[number], outcomes[number]
    assert outcome.exit_code == step.exit_code, outcome
    is_as_stated = doctest.OutputChecker().check_output(step.output, outcome.output, doctest.ELLIPSIS)
    assert is_as_stated, f"README.md says:\n{step.output}\nit printed:\n{outcome.output}\n{outcome.errors}"


def test_tour_goes_the_whole_way() -> None:
    commands = {step.code.split()[1] for step in STEPS if step.code.startswith("adapterhub ")}
    assert commands >= {"train", "publish", "verify", "predict", "rollback", "history"}
    assert any("promote" in step.code for step in STEPS)


def test_every_block_is_of_a_kind_that_is_known() -> None:
    assert {kind for kind, _ in BLOCK.findall(README)} <= {"sh", "console", "python", "text", "toml"}


def test_every_file_of_settings_is_one() -> None:
    blocks = [tomllib.loads(text) for kind, text in BLOCK.findall(README) if kind == "toml"]
    assert any("space" in block for block in blocks)
    for block in blocks:
        space = parse_space([], block.pop("space", {}))
        space.require_fit(parse_config(block))


def test_generated_tables_are_the_generators() -> None:
    assert replaced(README, tables()) == README, "run scripts/document"


def test_every_setting_is_documented_and_every_documented_one_is_read() -> None:
    name = re.compile(r"ADAPTERHUB_[A-Z_]*[A-Z]")
    files = [*(ROOT / "adapterhub").rglob("*.py"), *(path for path in (ROOT / "scripts").iterdir() if path.is_file())]
    read = {found for path in files for found in name.findall(path.read_text(encoding="utf-8"))}
    documented = re.findall(r"^\| `(ADAPTERHUB_[A-Z_]+)` \|", README, flags=re.MULTILINE)
    assert sorted(read) == sorted(documented)


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert "docs/house.svg" in links
    for link in links:
        assert (ROOT / link).exists(), link


def test_scripts_that_are_named_exist_and_can_be_run() -> None:
    for name in re.findall(r"scripts/(\w+)", README):
        assert os.access(ROOT / "scripts" / name, os.X_OK), name


def test_stated_python_is_the_one_that_is_required() -> None:
    required = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    assert f"Python {required.removeprefix('>=')} or newer" in README


def test_prose_states_no_figures_of_its_own() -> None:
    prose = BLOCK.sub("", re.sub(r"<!-- [\w ]+: generated -->.*?<!-- [\w ]+: end -->", "", README, flags=re.DOTALL))
    prose = re.sub(r"`[^`]+`|\([^)]+\)", "", prose)
    assert set(re.findall(r"\d+(?:[.,]\d+)*", prose)) <= {"3.11", "2.0", "1", "2", "3"}  # Python, Apache, versions, S3
