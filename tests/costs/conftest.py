"""What the tests of costs share: a comparison's results that were made up, and one small base."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny import intent_rows, write_rows

from adapterhub.bases.load import Base, load_base
from adapterhub.costs.arms import find_arm
from adapterhub.costs.figures import ArmFigures, CurvePoint, MemoryParts
from adapterhub.costs.results import Result
from adapterhub.costs.suites import ComparedTask, Suite
from adapterhub.settings import Settings


@pytest.fixture(scope="session")
def tiny_base(tiny_base_folder: Path, tiny_settings: Settings) -> Base:
    return load_base(str(tiny_base_folder), cache=tiny_settings.cache)


@pytest.fixture(scope="session")
def suite(tiny_base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """A comparison of two arms, and of one that is left out, on three intents."""
    rows = write_rows(tmp_path_factory.mktemp("rows") / "intents.jsonl", intent_rows(3, n_each=60))
    task = ComparedTask(name="intents", task="text-classification", data=str(rows), epochs=2,
                        base=str(tiny_base_folder), batch_size=16, max_length=32)
    return Suite(name="tiny", tasks=(task,), arms=tuple(map(find_arm, ("full", "lora-r2", "bare"))), seeds=(0,),
                 is_tuned=False)


@pytest.fixture
def result() -> Callable[..., Result]:
    """One arm's result with a quality, a size, a peak and a step; further fields by name."""
    def make(arm: str, quality: float, *, disk: int = 100, peak: int = 1000, step: float = 0.1, seed: int = 0,
             **changes: Any) -> Result:
        curve = [CurvePoint(epoch=epoch, step=10 * epoch, seconds=10 * step * epoch,
                            processor_seconds=10 * step * epoch, loss=1 / epoch,
                            metrics={"accuracy": quality - 0.1 * (2 - epoch)}) for epoch in (1, 2)]
        given: dict[str, Any] = {
            "arm": arm, "method": "lora", "seed": seed, "learning_rate": 1e-3, "epochs": 2, "n_steps": 20,
            "trained_parameters": 10, "total_parameters": 1000, "disk_bytes": disk, "peak_memory_bytes": peak,
            "write_memory_bytes": 5, "reserved_memory_bytes": 0, "step_seconds": step,
            "step_processor_seconds": step, "train_seconds": 20 * step,
            "metrics": {"accuracy": quality}, "n_test_rows": 1000, "curve": curve,
            "parts": MemoryParts(weights=400, gradients=40, optimizer=80, activations=300, checkpoint=120),
            "energy_counter": "not measurable here"}
        return Result(task="intents", figures=ArmFigures(**(given | changes)), settings={"learning_rate": 1e-3},
                      machine={"processor": "P", "threads": 2, "memory_bytes": 8e9}, versions={"torch": "2.13.0"},
                      created_at="2026-01-01T00:00:00+00:00")
    return make
