"""The benchmark of costs: a preset that never reaches full fine-tuning's quality fails, and one that does is timed."""

import json
from dataclasses import replace
from pathlib import Path

from adapterhub.costs.summary import ArmSummary, Mean
from benchmarks.compare import QUERY_VALUE, QUICK_INTENTS, few_intents, lean_figures


def arm(name: str, *, near_seconds: float | None, peak: int = 100, quality: float = 0.9) -> ArmSummary:
    return ArmSummary(arm=name, title=name, seeds=(0,), learning_rate=1e-3, metric="accuracy",
                      quality=Mean(value=quality, half_width=None, n=1), trained_parameters=1, total_parameters=2,
                      disk_bytes=10, checkpoint_bytes=10, peak_memory_bytes=peak, write_memory_bytes=50,
                      step_seconds=1.0, train_seconds=9.0, best_seconds=8.0, near_seconds=near_seconds,
                      energy_joules=None, energy_counter="", parts=None, curves=())


FULL = arm("full", near_seconds=10.0)


def test_lean_is_timed_to_fulls_quality() -> None:
    memory, seconds, points, _ = lean_figures(FULL, arm("lean", near_seconds=5.0, peak=25, quality=0.897))
    assert (memory.value, memory.is_met) == (0.25, True)
    assert (seconds.value, seconds.is_met) == (0.5, True)
    assert round(points.value, 6) == -0.3


def test_quality_that_is_never_reached_misses_the_target() -> None:
    for full, lean in ((FULL, replace(FULL, near_seconds=None)), (replace(FULL, near_seconds=None), FULL)):
        seconds = lean_figures(full, lean)[1]
        assert (seconds.value, seconds.is_met, seconds.note) == (1.0, False, "never reached")


def test_query_value_arm_is_of_the_papers_rank() -> None:
    assert QUERY_VALUE.more == {"rank": 4, "targets": "query-value"}


def test_quick_run_has_the_rows_of_the_first_intents(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for part, n_each in (("train", 3), ("test", 2)):
        rows = [{"text": f"row {i}", "label": f"intent {label:02}"} for i in range(n_each) for label in range(20)]
        (source / f"{part}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    folder = few_intents(source, tmp_path / "few")
    for part, n_each in (("train", 3), ("test", 2)):
        rows = [json.loads(line) for line in (folder / f"{part}.jsonl").read_text().splitlines()]
        assert len(rows) == n_each * QUICK_INTENTS
        assert {row["label"] for row in rows} == {f"intent {label:02}" for label in range(QUICK_INTENTS)}
