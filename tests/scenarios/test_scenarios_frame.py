"""The command that every scenario is: its options reach the measuring, its figures and faults reach the caller."""

import json
from dataclasses import dataclass

import click
from click.testing import CliRunner, Result

from adapterhub.demo.show import Screen
from adapterhub.errors import DataError
from adapterhub.settings import Settings
from scripts.scenarios.frame import Options, scenario


@dataclass(frozen=True)
class Figures:
    n_rows: int
    seed: int
    label: str


@scenario("pretended --quick", n_rows=300)
@click.option("--label", default="none")
def pretended(options: Options, settings: Settings, screen: Screen, label: str) -> Figures:
    """Measure nothing."""
    if label == "bad":
        raise DataError("No such label.")
    screen.say("measured")
    return Figures(n_rows=options.n_rows, seed=options.seed, label=label)


def figures_of(*arguments: str) -> dict[str, object]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr == "measured\n"
    return dict(json.loads(result.stdout))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(pretended, arguments)


def test_quick_takes_one_row_of_five_but_never_under_ten() -> None:
    assert figures_of()["n_rows"] == 300
    assert figures_of("--quick")["n_rows"] == 60
    assert figures_of("--rows", "100", "--quick", "--seed", "3") == {"n_rows": 20, "seed": 3, "label": "none"}
    assert figures_of("--rows", "12", "--quick")["n_rows"] == 10


def test_options_of_a_scenarios_own_stand_behind_the_shared_ones() -> None:
    assert figures_of("--label", "good")["label"] == "good"
    assert [parameter.name for parameter in pretended.params] == ["rows", "quick", "seed", "as_json", "label"]


def test_without_json_standard_output_has_what_people_read() -> None:
    result = run()
    assert (result.stdout, result.stderr) == ("measured\n", "")


def test_fault_is_one_sentence() -> None:
    result = run("--label", "bad")
    assert (result.exit_code, result.stderr) == (2, "Error: No such label.\n")
