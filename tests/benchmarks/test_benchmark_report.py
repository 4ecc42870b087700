"""Benchmarks tell the same way: a table, one last line of JSON, and an exit code for missed targets."""

import json
from pathlib import Path

import pytest

from benchmarks.report import Figure, Options, median_figure, parse_options, run, timed

MET = Figure(name="fast", value=2.0, unit="ms", at_most=3.0)
MISSED = Figure(name="slow", value=2.0, unit="MB/s", at_least=3.0)
BARE = Figure(name="size", value=2.0, unit="bytes")


def test_figure_knows_whether_it_meets_its_target() -> None:
    assert [figure.is_met for figure in (MET, MISSED, BARE)] == [True, False, None]
    assert (MET.target, MISSED.target, BARE.target) == ("at most 3", "at least 3", "")


def test_last_line_is_json_with_machine_and_versions(capsys: pytest.CaptureFixture[str]) -> None:
    run("demo", lambda options: [MET, BARE], ["--quick", "--check"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["benchmark"], result["quick"]) == ("demo", True)
    assert [figure["is_met"] for figure in result["figures"]] == [True, None]
    assert result["machine"]["threads"] >= 1
    assert "python" in result["versions"]


def test_missed_target_fails_a_checked_run_alone(capsys: pytest.CaptureFixture[str]) -> None:
    run("demo", lambda options: [MISSED], ["--quick"])
    with pytest.raises(SystemExit) as ended:
        run("demo", lambda options: [MISSED], ["--quick", "--check"])
    assert ended.value.code == 1
    assert "Missed: slow." in capsys.readouterr().out


def test_json_is_kept_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("demo", lambda options: [MET], ["--quick", "--json", str(tmp_path / "a.json")])
    assert json.loads((tmp_path / "a.json").read_text()) == json.loads(capsys.readouterr().out.splitlines()[-1])


def test_options_reach_the_benchmark() -> None:
    assert parse_options("demo", "", ["--quick"]) == Options(is_quick=True, is_checked=False, json_file=None)


def test_median_and_spread_are_of_the_runs() -> None:
    figure = median_figure("x", [1.0, 2.0, 3.0, 4.0, 100.0], "s")
    assert (figure.value, figure.spread, figure.n_runs) == (3.0, 1.0, 5)
    calls: list[int] = []
    assert len(timed(lambda: calls.append(1), n_runs=3, n_warmups=2)) == 3
    assert len(calls) == 5
