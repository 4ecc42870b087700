"""Training on: a published adapter's weights become the start of a run that is of the same make."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from adapterhub.adapter.check import check_folder
from adapterhub.adapter.folder import AdapterFolder, read_folder
from adapterhub.adapter.peft_config import CONFIG_FILE, WEIGHTS_FILE
from adapterhub.adapter.tensors import parse_tensors
from adapterhub.bases.load import Base
from adapterhub.errors import InvalidConfig
from adapterhub.tasks.task import Task
from adapterhub.training.methods import TrainedModel
from adapterhub.training.peft_configs import moves_base

_ANEW = "Train anew, without --continue-from."
_RANKS = ("r", "target_r")
_HINTS = {"r": "Give --rank {old}.", "target_r": "Give --rank {old}.", "lora_alpha": "Give --alpha {old}."}
_WORDS = {"r": "rank", "target_r": "rank", "lora_alpha": "alpha"}
_NOT_DECIDING = {"base_model_name_or_path", "revision", "inference_mode", "peft_version", "auto_mapping", "task_type",
                 "peft_type", "target_modules", "modules_to_save", "lora_dropout", "vera_dropout", "module_dropout",
                 "init_lora_weights", "init_ia3_weights", "init_weights", "d_initial", "fan_in_fan_out",
                 "megatron_core", "runtime_config", "total_step", "tinit", "tfinal", "deltaT", "beta1", "beta2",
                 "orth_reg_weight", "qalora_group_size", "save_projection"}
"""Fields of PEFT's configurations that do not decide what given tensors compute, or that are compared otherwise."""


def start_from(trained: TrainedModel, folder: Path, base: Base, task: Task, labels: list[str]) -> AdapterFolder:
    """Load a checked adapter folder's weights as the start of a run, and return the folder.

    Raises InvalidConfig where task, labels, method, targets or a setting that decides what the tensors compute differ;
    BaseMismatch, InvalidFolder as the checks.
    """
    parent = read_folder(folder)
    check_folder(parent, base.shapes)
    old, new = json.loads(parent.files[CONFIG_FILE]), trained.peft_config.to_dict()
    if moves_base(trained.peft_config):
        raise InvalidConfig("A method that starts from the base's own weights cannot start from an adapter.",
                            hint=f"Give --method lora --rank {parent.manifest.method.rank} --alpha "
                                 f"{old.get('lora_alpha')}.")
    facts = {"task": (parent.manifest.task, task.name), "labels": (parent.manifest.labels, labels),
             "method": (old["peft_type"], new["peft_type"].value),
             "targets": (sorted(parent.manifest.method.target_modules), sorted(trained.target_modules))}
    for what, (before, now) in facts.items():
        if before != now:
            raise InvalidConfig(f"{folder} has {what} {str(before)[:120]}, this run has {str(now)[:120]}.", hint=_ANEW)
    for name, before, now in _differences(old, new):
        hint = _HINTS.get(name, f"Give method_options {name} = {before}, or train anew, without --continue-from.")
        raise InvalidConfig(f"{folder} has {_WORDS.get(name, name)} {str(before)[:120]}, this run has "
                            f"{str(now)[:120]}.", hint=hint.format(old=before))
    arrays = parse_tensors(parent.files[WEIGHTS_FILE], folder, WEIGHTS_FILE)
    state = {name: torch.from_numpy(array.astype("float32")) for name, array in arrays.items()}
    if {name: value.shape for name, value in state.items()} != {n: v.shape for n, v in trained.state().items()}:
        raise InvalidConfig(f"{folder} has tensors of other shapes than this run's.", hint=_ANEW)
    trained.put(state)
    return parent


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield each deciding field that differs, with what it was and what it is now; the rank first."""
    for name in sorted(old.keys() & new.keys() - _NOT_DECIDING, key=lambda name: (name not in _RANKS, name)):
        before, now = _plain(old[name]), _plain(new[name])
        if before != now:
            yield name, before, now
    if "pissa" in str(old.get("init_lora_weights")) or old.get("init_lora_weights") == "olora":
        yield "init_lora_weights", old["init_lora_weights"], True


def _plain(value: Any) -> Any:
    """Return a field as JSON gives it, with one form for what is empty."""
    return sorted(value) if isinstance(value, set) else value or None
