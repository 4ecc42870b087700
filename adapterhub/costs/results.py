"""Results of a comparison in a folder: one JSON file for each arm and seed, in the layout of PEFT's method_comparison.

So they can lie beside PEFT's own. What PEFT does not measure stands in `train_info` under names of its own.
Source: huggingface/peft, method_comparison, at 5d602fd.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adapterhub.costs.figures import ArmFigures, parsed_figures
from adapterhub.costs.machine import accelerator_name, describe_machine, versions
from adapterhub.costs.suites import ComparedTask
from adapterhub.errors import DataError
from adapterhub.files import canonical_json, read_json, sha256_of_bytes, write_atomic


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One arm on one task with one seed, and what it was measured on."""

    task: str
    figures: ArmFigures
    settings: dict[str, Any]
    """Of the arm, as it was asked for."""
    machine: dict[str, Any]
    versions: dict[str, str]
    created_at: str
    """UTC, ISO 8601."""


class ResultsFolder:
    """A comparison's results on disk; what is there need not run again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, task: str, arm: str, seed: int, settings: Mapping[str, Any]) -> Result | None:
        """Return a result that was measured with these settings, None where there is none."""
        path = self._path(task, arm, seed)
        if not path.exists():
            return None
        result = parse_result(read_json(path), path)
        return result if _digest(result.settings) == _digest(settings) else None

    def keep(self, task: ComparedTask, figures: ArmFigures, settings: Mapping[str, Any]) -> Result:
        """Write one arm's figures."""
        result = Result(task=task.name, figures=figures, settings=dict(settings), machine=describe_machine(),
                        versions=versions(), created_at=datetime.now(UTC).isoformat(timespec="seconds"))
        path = self._path(task.name, figures.arm, figures.seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(in_peft_layout(task, result), indent=1, sort_keys=True) + "\n"
        write_atomic(path, text.encode())
        return result

    def read_all(self) -> list[Result]:
        """Return every result, in the order of their names."""
        return [parse_result(read_json(path), path) for path in sorted(self.path.glob("*/*--seed*.json"))]

    def note(self, name: str, value: object) -> None:
        """Write something else that belongs to the comparison, as JSON."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomic(self.path / f"{name}.json", (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())

    def noted(self, name: str) -> Any:
        """Return what `note` wrote, None where it did not."""
        path = self.path / f"{name}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def _path(self, task: str, arm: str, seed: int) -> Path:
        return self.path / task / f"{arm}--seed{seed}.json"


def in_peft_layout(task: ComparedTask, result: Result) -> dict[str, Any]:
    """Return a result as PEFT's method_comparison writes one."""
    figures = result.figures
    metrics = [{"step": point.step, "loss": point.loss, "seconds": point.seconds,
                **{f"valid {name}": value for name, value in point.metrics.items()}} for point in figures.curve]
    return {
        "run_info": {"created_at": result.created_at, "total_time": figures.train_seconds,
                     "experiment_name": f"{figures.arm}--seed{figures.seed}", "peft_branch": "main",
                     "train_config": {**result.settings, "learning_rate": figures.learning_rate}, "peft_config": None,
                     "error_msg": ""},
        "train_info": {"accelerator_memory_max": figures.peak_memory_bytes,
                       "accelerator_memory_reserved_99th": figures.reserved_memory_bytes or None,
                       "accelerator_memory_reserved_avg": None, "train_time": figures.train_seconds,
                       "file_size": figures.disk_bytes, "num_trainable_params": figures.trained_parameters,
                       "num_total_params": figures.total_parameters, "status": "success",
                       "metrics": [*metrics, {"step": figures.n_steps, **{
                           f"test {name}": value for name, value in figures.metrics.items()}}],
                       "adapterhub": asdict(figures)},
        "meta_info": {"model_info": {"model_id": task.base_name, "sha": None},
                      "dataset_info": {"name": task.name, "task": task.task},
                      "package_info": {f"{name}-version": version for name, version in result.versions.items()},
                      "system_info": {**result.machine, "accelerator": accelerator_name()},
                      "pytorch_info": result.versions.get("torch", "")},
    }


def parse_result(plain: Any, path: Path) -> Result:
    """Return the result that a file holds. Raises DataError where it holds none of ours."""
    try:
        run, train, meta = plain["run_info"], plain["train_info"], plain["meta_info"]
        settings = dict(run["train_config"])
        found = {name.removesuffix("-version"): value for name, value in meta["package_info"].items()}
        return Result(task=meta["dataset_info"]["name"], figures=parsed_figures(train["adapterhub"]),
                      settings=settings, machine=meta["system_info"], versions=found, created_at=run["created_at"])
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} is no result of adapterhub compare: {error}.", hint="Remove it.") from error


def of_task(results: Sequence[Result], task: str) -> dict[str, list[Result]]:
    """Return a task's results by arm, in the order in which the arms first come."""
    arms: dict[str, list[Result]] = {}
    for result in results:
        if result.task == task:
            arms.setdefault(result.figures.arm, []).append(result)
    return arms


def _digest(settings: Mapping[str, Any]) -> str:
    return sha256_of_bytes(canonical_json(settings))
