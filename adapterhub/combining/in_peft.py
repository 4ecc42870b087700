"""An adapter of any PEFT method on its base, as PEFT loads it, and the weights that come out when PEFT merges it in.

The head is put into the model directly, not through PEFT's `modules_to_save`: PEFT 0.21 unwraps a saved module with
children (BERT's pooler) for LoRA alone, and converts it under a wrong name.
"""

import json
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import (
    PEFT_TYPE_TO_CONFIG_MAPPING,
    PeftConfig,
    PeftModel,
    PeftType,
    PromptLearningConfig,
    get_peft_model_state_dict,
)
from safetensors.torch import load, save_file
from transformers import PreTrainedModel

from adapterhub.adapter.check import check_folder
from adapterhub.adapter.folder import AdapterFolder, VerifiedFiles, parse_folder
from adapterhub.adapter.peft_config import CONFIG_FILE, METHOD_NAMES, PREFIX, WEIGHTS_FILE
from adapterhub.bases.load import Base
from adapterhub.combining.made import Head
from adapterhub.combining.readers import Reader
from adapterhub.errors import BaseMismatch, InvalidFolder

_COPIES = (".original_module.", ".modules_to_save.")
"""Under these names PEFT writes a head's bias once more with `bias="all"`; it reads neither back."""
Weights = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapted:
    """An adapter on its base, in float32 and in evaluation mode."""

    model: PeftModel
    config: PeftConfig
    head: Head
    untouched: Weights
    """The base's parameters, and the adapter's head, before PEFT changed any."""

    @property
    def method(self) -> str:
        """PEFT's name of the method in lower case; `dora` for LoRA with magnitudes."""
        name: str = PeftType(self.config.peft_type).value.lower()
        return "dora" if getattr(self.config, "use_dora", False) else name


def load_adapted(files: VerifiedFiles, base: Base, reader: Reader) -> Adapted:
    """Lay an adapter on its base by PEFT.

    Raises BaseMismatch for another base; InvalidFolder where PEFT cannot load it, or would leave a tensor out.
    """
    if files.manifest.base.fingerprint != base.identity.fingerprint:
        raise BaseMismatch(str(files.path), files.manifest.base.fingerprint, base.identity.fingerprint)
    raw, state = _parsed(files, base)
    saved = [str(name) for name in raw.get("modules_to_save") or []]
    state = {name: value.float() for name, value in state.items()
             if raw.get("bias") != "all" or not any(copy in name for copy in _COPIES)}
    head = {name: value for name, value in state.items() if _is_saved(name, saved)}
    rest = {name: value for name, value in state.items() if name not in head}
    model = reader.load(base, files.manifest.labels)
    _put_head(model, head, files)
    untouched = {name: value.detach().clone() for name, value in model.state_dict().items()}
    adapted = _wrapped(model, raw, rest, files, head)
    return Adapted(model=adapted, config=adapted.peft_config["default"], head=head, untouched=untouched)


def merged_weights(adapted: Adapted, files: VerifiedFiles) -> PreTrainedModel:
    """Return the model with the adapter merged into its weights; the adapted one cannot be used any more.

    Raises InvalidFolder for a method that changes no weights.
    """
    merge: Any = getattr(adapted.model, "merge_and_unload", None)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of rounding
            model: PreTrainedModel = merge()
    except (AttributeError, NotImplementedError, TypeError, ValueError, RuntimeError) as error:
        raise InvalidFolder(str(files.path), [f"PEFT merges no {adapted.method} into weights "
                                              f"({_first_line(error)})"],
                            hint="Train the task again with LoRA.") from error
    model.eval()
    return model


def _parsed(files: VerifiedFiles, base: Base) -> tuple[dict[str, Any], Weights]:
    """Return configuration and tensors without PEFT's prefix; of a served method after every check."""
    try:
        raw = json.loads(files.files[CONFIG_FILE])
        state = load(files.files[WEIGHTS_FILE])
    except Exception as error:  # json, safetensors and recursion have no common class; all mean bytes at fault
        raise InvalidFolder(str(files.path), [f"it cannot be read ({_first_line(error)})"]) from error
    if not isinstance(raw, dict) or raw.get("peft_type") not in PEFT_TYPE_TO_CONFIG_MAPPING:
        raise InvalidFolder(str(files.path), [f"{CONFIG_FILE} names no method that this PEFT knows"])
    if issubclass(PEFT_TYPE_TO_CONFIG_MAPPING[raw["peft_type"]], PromptLearningConfig):
        raise InvalidFolder(str(files.path), [f"{raw['peft_type']} adds tokens and changes no weight"],
                            hint="Train the task again with LoRA.")
    if raw["peft_type"] in METHOD_NAMES:
        served = files if isinstance(files, AdapterFolder) else parse_folder(files.path, files.files)
        check_folder(served, base.shapes)
    faults = [f"tensor {name} holds NaN or infinity" for name, value in state.items() if not value.isfinite().all()]
    faults += [f"tensor {name} does not start with {PREFIX.partition('.')[0]}" for name in state
               if not name.startswith(PREFIX.partition(".")[0])]
    if faults:
        raise InvalidFolder(str(files.path), faults)
    return raw, {name.removeprefix(PREFIX): value for name, value in state.items()}


def _is_saved(name: str, saved: list[str]) -> bool:
    return any(f".{module}." in f".{name.rpartition('.')[0]}." for module in saved)


def _put_head(model: PreTrainedModel, head: Mapping[str, torch.Tensor], files: VerifiedFiles) -> None:
    try:
        unexpected = model.load_state_dict(dict(head), strict=False).unexpected_keys
    except RuntimeError as error:
        raise InvalidFolder(str(files.path), [f"its head does not fit the model ({_first_line(error)})"]) from error
    if unexpected:
        raise InvalidFolder(str(files.path), [f"the model has no {name}" for name in unexpected])


def _wrapped(model: PreTrainedModel, raw: Mapping[str, Any], rest: Weights, files: VerifiedFiles,
             head: Mapping[str, torch.Tensor]) -> PeftModel:
    """Load the method's own tensors by PEFT, and see that it took each of them."""
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a tensor that PEFT only warns of is a fault below
        folder = Path(place)
        (folder / CONFIG_FILE).write_text(json.dumps({**raw, "modules_to_save": None, "task_type": None}))
        save_file({_in_file(name): value.contiguous() for name, value in rest.items()}, folder / WEIGHTS_FILE)
        try:
            adapted = PeftModel.from_pretrained(model, place)
        except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, NotImplementedError) as error:
            raise InvalidFolder(str(files.path), [f"PEFT cannot load it ({_first_line(error)})"]) from error
    held = {name.removeprefix(PREFIX) for name in get_peft_model_state_dict(adapted, save_embedding_layers=False)}
    missing, unexpected = sorted(held - rest.keys() - head.keys()), sorted(rest.keys() - held)
    if missing or unexpected:
        raise InvalidFolder(str(files.path), [*(f"tensor {name} is missing" for name in missing),
                                              *(f"tensor {name} is unexpected" for name in unexpected)])
    return adapted.eval()


def _in_file(name: str) -> str:
    """Return a tensor's name as PEFT writes it; what is shared by all layers (VeRA's) lies beside the model."""
    return name if name.startswith("base_model.") else PREFIX + name


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".:")[:200] if lines else type(error).__name__
