"""Checkpoints: what a run needs to go on to the bit, through Accelerate, without the base's weights.

A checkpoint holds the adapter, the optimiser, the schedule, the random states, the figures so far with the place in the
data, and the best epoch's adapter: about four times the adapter's bytes. It is written whole or not at all.
"""

import json
import logging
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedType
from safetensors.torch import load_file, save_file

from adapterhub.errors import DataError, TrainingError
from adapterhub.files import canonical_json, read_json, sha256_of_file, storage_errors, sync_tree
from adapterhub.training.methods import State, TrainedModel
from adapterhub.training.outcome import Outcome

N_KEPT = 2
"""The newest, and the one before it in case the newest is damaged."""
_log = logging.getLogger(__name__)
_ADAPTER, _BEST, _OUTCOME, _DIGESTS = "adapter.safetensors", "best.safetensors", "outcome.json", "digests.json"


class Checkpoints:
    """The checkpoints of one run, in `folder`."""

    def __init__(self, folder: Path, accelerator: Accelerator, trained: TrainedModel, seconds_between: float) -> None:
        self.folder = folder
        self._accelerator, self._trained = accelerator, trained
        self._seconds_between, self._last = seconds_between, time.monotonic()
        accelerator.register_save_state_pre_hook(self._save_adapter)
        accelerator.register_load_state_pre_hook(self._load_adapter)

    @property
    def is_due(self) -> bool:
        """Whether the last one is long enough ago."""
        return time.monotonic() - self._last >= self._seconds_between

    def save(self, outcome: Outcome) -> None:
        """Write a checkpoint of this moment; every process calls it. Raises StorageError."""
        place = self.folder / f"{outcome.n_steps:08d}"
        temporary = self.folder / f".{place.name}"
        with storage_errors(self.folder):
            if self._accelerator.is_main_process:
                shutil.rmtree(temporary, ignore_errors=True)
                temporary.mkdir(parents=True)
            self._accelerator.wait_for_everyone()
            without = self._beside_the_base("exclude_frozen_parameters", value=True)
            self._accelerator.save_state(str(temporary), **without)
            self._accelerator.wait_for_everyone()
            if self._accelerator.is_main_process:
                self._complete(temporary, outcome)
                shutil.rmtree(place, ignore_errors=True)
                temporary.replace(place)
                sync_tree(place)
                for old in _whole_names(self.folder)[N_KEPT:]:
                    shutil.rmtree(old)
        self._last = time.monotonic()

    def load(self) -> Outcome:
        """Put the newest undamaged checkpoint back and return the figures at its moment.

        Raises TrainingError where there is none.
        """
        broken: list[str] = []
        for place in _whole_names(self.folder):
            if is_whole(place):
                plain = read_json(place / _OUTCOME)
                best = load_file(place / _BEST) if (place / _BEST).exists() else {}
                self._accelerator.load_state(str(place), **self._beside_the_base("load_module_strict", value=False))
                outcome = Outcome.from_plain(plain, best)
                outcome.broken_checkpoints += broken
                outcome.seconds_before = outcome.seconds
                if broken:
                    _log.warning("Checkpoint %s is damaged: going on from %s, the one before it.",
                                 " and ".join(broken), place.name)
                return outcome
            broken.append(place.name)
        raise TrainingError(f"No checkpoint in {self.folder} is whole.", hint="Remove its folder to start anew.")

    def _beside_the_base(self, option: str, *, value: bool) -> dict[str, Any]:
        """Return what keeps base weights out where DeepSpeed writes and reads itself."""
        return {option: value} if self._accelerator.distributed_type is DistributedType.DEEPSPEED else {}

    def _complete(self, folder: Path, outcome: Outcome) -> None:
        if outcome.state:
            save_file(outcome.state, folder / _BEST)
        (folder / _OUTCOME).write_bytes(canonical_json(outcome.as_plain()))
        digests = {str(path.relative_to(folder)): sha256_of_file(path)
                   for path in sorted(folder.rglob("*")) if path.is_file()}
        (folder / _DIGESTS).write_bytes(canonical_json(digests))
        sync_tree(folder)

    def _save_adapter(self, models: list[torch.nn.Module], weights: list[State], folder: str) -> None:
        state = self._trained.state()
        if self._accelerator.is_main_process:
            save_file(state, Path(folder) / _ADAPTER)
        weights.clear()  # else Accelerate would write the base as well

    def _load_adapter(self, models: list[torch.nn.Module], folder: str) -> None:
        self._trained.put(load_file(Path(folder) / _ADAPTER))
        models.clear()


def is_whole(place: Path) -> bool:
    """Say whether each file of a checkpoint is what was written."""
    try:
        digests: dict[str, Any] = read_json(place / _DIGESTS)
        return bool(digests) and all(sha256_of_file(place / name) == digest for name, digest in digests.items())
    except (DataError, OSError, AttributeError, json.JSONDecodeError):
        return False


def _whole_names(folder: Path) -> list[Path]:
    """List finished checkpoints, the newest first; a hidden one was not finished."""
    return sorted((path for path in folder.glob("*") if path.name.isdecimal()), reverse=True)
