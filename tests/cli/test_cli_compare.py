"""`compare` and `estimate`: what they tell, and what bad input gets."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from command_line import Cli


def test_estimate_tells_memory_bytes_time_and_money_for_people_and_programs(cli: Cli, tiny_base_folder: Path) -> None:
    given = ("estimate", "--base", tiny_base_folder, "--method", "lora", "--rank", 2, "--batch", 4, "--length", 16,
             "--no-calibrate")
    told = cli(*given, "--json").json
    assert told["parts"]["gradients"] == 4 * told["trained_parameters"]
    assert told["parts"]["optimizer"] > 2 * told["parts"]["gradients"] - 1
    assert told["peak_memory_bytes"] > told["parts"]["weights"]
    assert told["step_seconds"] is None
    said = cli(*given).out
    assert f"{told['file_bytes']:,} bytes" in said
    assert "a step" not in said.replace("of a step", "")


@pytest.mark.parametrize(("given", "sentence"), [
    (("estimate", "--length", 100_000, "--no-calibrate"), "length is 100000, the base reads at most 64 tokens"),
    (("estimate", "--method", "lorra", "--no-calibrate"), "lorra"),
])
def test_bad_estimate_is_one_sentence_and_exit_2(cli: Cli, tiny_base_folder: Path, given: tuple[object, ...],
                                                 sentence: str) -> None:
    ran = cli(*given, "--base", tiny_base_folder)
    assert ran.exit_code == 2
    assert sentence in ran.err


@pytest.mark.parametrize(("given", "sentence"), [
    (("--suite", "nightly"), "nightly"),
    ((), "Give either --suite, or --task and --data"),
    (("--suite", "quick", "--data", "rows.csv"), "Give either --suite, or --task and --data"),
    (("--data", "rows.csv"), "Give either --suite, or --task and --data"),
    (("--task", "text-classification", "--data", "absent.csv"), "absent.csv"),
    (("--task", "text-classification", "--data", "absent.csv", "--arm", "lorra"), "lorra"),
    (("--suite", "quick", "--report-only"), "has no result of this comparison yet"),
])
def test_bad_comparison_is_one_sentence_and_exit_2(cli: Cli, tmp_path: Path, given: tuple[object, ...],
                                                   sentence: str) -> None:
    ran = cli("compare", *given, "--output", tmp_path / "compared")
    assert ran.exit_code == 2
    assert sentence in ran.err
    assert not (tmp_path / "compared").exists() or not any((tmp_path / "compared").rglob("*.json"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_scale_without_a_gpu_says_so(cli: Cli, tmp_path: Path) -> None:
    ran = cli("compare", "--suite", "scale", "--output", tmp_path / "compared")
    assert ran.exit_code == 2
    assert "no CUDA GPU here" in ran.err
    assert json.dumps(ran.err).count("Error:") == 1


def test_dry_run_says_what_a_run_takes_and_writes_nothing(cli: Cli, tiny_base_folder: Path, tiny_rows: dict[str, Path],
                                                          tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapterhub.costs.ahead.SECONDS", 0.2)
    given = ("train", "--task", "text-classification", "--data", tiny_rows["intents3"], "--base", tiny_base_folder,
             "--output", tmp_path / "out", "--epochs", 2, "--batch-size", 8, "--rank", 2, "--max-length", 32)
    told = cli(*given, "--dry-run", "--json").json
    assert not any(tmp_path.iterdir())
    assert told["n_steps"] == 2 * 4  # 30 of 42 rows are learned
    assert told["total_seconds"] == pytest.approx(8 * told["step_seconds"])
    trained = cli(*given, "--dtype", "float16", "--json").json
    assert told["trained_parameters"] == trained["trained_parameters"]
    assert told["file_bytes"] == (tmp_path / "out" / "adapter_model.safetensors").stat().st_size


IN_A_PROCESS = """
import sys
import adapterhub.costs.ahead
from adapterhub.cli.main import main
adapterhub.costs.ahead.SECONDS = 0.2
main(sys.argv[1:])
"""


def test_run_says_how_far_off_its_estimate_was(cli: Cli, tiny_base_folder: Path, tiny_rows: dict[str, Path],
                                               tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapterhub.costs.ahead.SECONDS", 0.2)
    given = ("train", "--task", "text-classification", "--data", tiny_rows["intents3"], "--base", tiny_base_folder,
             "--epochs", 2, "--batch-size", 8, "--rank", 2, "--max-length", 32, "--dtype", "float16", "--estimate")
    # In a process of its own: one that has freed much memory before takes the steps out of that, and no peak rises.
    ran = subprocess.run([sys.executable, "-c", IN_A_PROCESS, *map(str, given), "--output", tmp_path / "a", "--json"],
                         capture_output=True, text=True, timeout=120, check=True,
                         env={**os.environ, "ADAPTERHUB_CACHE": str(tmp_path / "cache")})
    told = {line["what"]: line for line in json.loads(ran.stdout)["estimate"]}
    assert set(told) == {"peak memory above the start", "8 steps", "tensors of the result on disk"}
    assert told["tensors of the result on disk"]["estimated"] == told["tensors of the result on disk"]["measured"]
    assert all(line["measured"] > 0 for line in told.values())
    shown = cli(*given, "--output", tmp_path / "b").out
    assert "off by" in shown
    assert "+0%" in shown
