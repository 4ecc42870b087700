"""Every command explains itself with an example, quickly and without torch."""

import resource
import subprocess
import sys

import pytest
from click.testing import CliRunner

from adapterhub.cli.main import main

COMMANDS = ("train", "evaluate", "search-hyperparameters", "publish", "list", "search", "show", "pull", "verify",
            "promote", "rollback",
            "history", "predict", "generate", "demo", "doctor", "at", "yank", "sweep", "copy", "backup", "restore",
            "watch", "policy", "fits", "breaks", "serve", "diff", "merge", "convert", "export", "retrain",
            "compare", "estimate")
GROUPS = ("gate", "token", "feedback", "data")
WITHOUT_JSON = ("predict", "watch", "serve")
"""Their lines are JSON already."""
LIMIT_S = 0.3


def help_of(*arguments: str) -> str:
    result = CliRunner().invoke(main, [*arguments, "--help"])
    assert result.exit_code == 0
    return result.output


def test_group_lists_exactly_the_documented_commands() -> None:
    assert sorted(main.commands) == sorted((*COMMANDS, *GROUPS))
    assert all(f"\n  {command} " in help_of() for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_it_does_and_gives_an_example(command: str) -> None:
    text = help_of(command)
    assert f"Example: adapterhub {command}" in " ".join(text.split())
    assert ("--json" in text) == (command not in WITHOUT_JSON)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(command: str) -> None:
    for parameter in main.commands[command].params:
        if parameter.param_type_name == "option" and parameter.name not in ("seed", "steps"):
            assert parameter.help, parameter.name


def test_help_loads_no_heavy_library() -> None:
    code = ("import sys; sys.argv = ['adapterhub', '--help']\n"
            "from adapterhub.cli.main import main\n"
            "try: main()\n"
            "finally: print([n for n in ('torch', 'transformers', 'peft', 'numpy', 'rich', 'pydantic', 'obstore') "
            "if n in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_takes_under_a_third_of_a_second() -> None:
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "adapterhub", "--help"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # Processor time: on a machine with nothing else to do that is how long one waits, and a busy one counts alike.
    assert min(seconds() for _ in range(5)) < LIMIT_S


def test_unknown_command_is_refused_as_usage() -> None:
    result = CliRunner().invoke(main, ["pubish"])
    assert result.exit_code == 2
    assert "No such command 'pubish'" in result.output
