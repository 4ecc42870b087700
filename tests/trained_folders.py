"""Real adapter folders of the trainer, with something done to their tensors, and digests that agree again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from adapter_folders import edit_manifest, listed_anew
from safetensors.torch import load_file, save_file

from adapterhub.adapter.manifest import MANIFEST_FILE
from adapterhub.adapter.peft_config import WEIGHTS_FILE

State = dict[str, torch.Tensor]


def tensors_of(folder: Path | None) -> State:
    """Return the tensors of a folder's file."""
    assert folder
    return load_file(folder / WEIGHTS_FILE)


def tampered(folder: Path, place: Path, change: Callable[[State], State]) -> Path:
    """Copy a folder to `place` with its tensors changed, as somebody would who also mends what the manifest says."""
    copy = Path(shutil.copytree(folder, place))
    state = {name: value.clone() for name, value in change(tensors_of(folder)).items()}
    save_file(state, copy / WEIGHTS_FILE, metadata={"format": "pt"})
    method = json.loads((copy / MANIFEST_FILE).read_text())["method"]
    edit_manifest(copy, method=method | {"n_parameters": sum(value.numel() for value in state.values())})
    listed_anew(copy)
    return copy
