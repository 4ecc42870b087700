"""Methods: a base under a fresh head becomes a model whose few trained tensors PEFT knows."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from adapterhub.adapter.check import check_folder
from adapterhub.adapter.folder import AdapterFolder, read_folder
from adapterhub.adapter.peft_config import WEIGHTS_FILE
from adapterhub.adapter.tensors import parse_tensors
from adapterhub.bases.load import Base
from adapterhub.errors import InvalidConfig
from adapterhub.tasks.loading import load_for
from adapterhub.tasks.task import Task
from adapterhub.training.config import ALL_LINEAR, TrainConfig

State = dict[str, torch.Tensor]
LINEAR = (nn.Linear, Conv1D)
"""What is a linear layer; GPT-2's Conv1D holds its weight as [I, O]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """A model ready for training, and what belongs to its adapter."""

    model: PreTrainedModel | PeftModel
    head_modules: list[str]
    """Trained and saved whole, beside the delta."""
    target_modules: list[str]

    @property
    def is_adapter(self) -> bool:
        """False for full fine-tuning."""
        return isinstance(self.model, PeftModel)

    def state(self) -> State:
        """Return a copy of the trained tensors, in PEFT's names."""
        tensors = (get_peft_model_state_dict(self.model, save_embedding_layers=False) if self.is_adapter
                   else self.model.state_dict())
        return {name: value.detach().cpu().clone() for name, value in tensors.items()}

    def put(self, state: Mapping[str, torch.Tensor]) -> None:
        """Set the trained tensors; every name must be known."""
        if self.is_adapter:
            result = set_peft_model_state_dict(self.model, dict(state))
            unexpected = result.unexpected_keys  # type: ignore[attr-defined]  # torch's named tuple is untyped
            assert not unexpected, f"PEFT did not expect {unexpected[:3]}"
        else:
            self.model.load_state_dict(dict(state))

    def parameters(self) -> list[torch.nn.Parameter]:
        """Return what training changes."""
        return [value for value in self.model.parameters() if value.requires_grad]

    @property
    def n_trained(self) -> int:
        """Parameters that training changes."""
        return sum(value.numel() for value in self.parameters())


def build_model(config: TrainConfig, base: Base, task: Task, labels: list[str]) -> TrainedModel:
    """Put a fresh head on the base and, unless the method is `full`, freeze it under a LoRA delta.

    Raises InvalidConfig for targets that the base does not have.
    """
    model = load_for(base, task, labels)
    head = head_modules(model)
    if config.method == "full":
        model.requires_grad_(requires_grad=True)
        return TrainedModel(model=model, head_modules=head, target_modules=[])
    targets = encoder_targets(model) if config.target_names == (ALL_LINEAR,) else list(config.target_names)
    _require_targets(model, targets)
    peft_config = LoraConfig(task_type=task.peft_task_type, r=config.rank, lora_dropout=config.dropout,
                             lora_alpha=config.scaled_alpha,  # type: ignore[arg-type]  # PEFT computes with floats
                             target_modules=list(targets), modules_to_save=list(head) or None,
                             fan_in_fan_out=_is_transposed(model, targets))
    return TrainedModel(model=get_peft_model(model, peft_config), head_modules=head, target_modules=targets)


def head_modules(model: PreTrainedModel) -> list[str]:
    """Name the modules that belong to the task: the head, and the pooler where the head reads one.

    The pooler is trained whole: this base was pretrained for mean pooling and its pooler is raw (banking77: 0.936
    with it, 0.913 without).
    """
    trunk = model.base_model
    if trunk is model or model.get_output_embeddings() is not None:  # a language model's own head stays as it is
        return []
    head = [name for name, child in model.named_children() if child is not trunk and list(child.parameters())]
    return head + (["pooler"] if getattr(trunk, "pooler", None) is not None else [])


def encoder_targets(model: PreTrainedModel) -> list[str]:
    """Name the linear layers inside the repeated layers, by what follows the layer's number."""
    targets: set[str] = set()
    for name, module in model.base_model.named_modules():
        parts = name.split(".")
        numbers = [i for i, part in enumerate(parts) if part.isdecimal()]
        if isinstance(module, LINEAR) and numbers:
            targets.add(".".join(parts[numbers[-1] + 1:]))
    return sorted(targets)


def start_from(trained: TrainedModel, folder: Path, base: Base, task: Task, labels: list[str]) -> AdapterFolder:
    """Load a checked adapter folder's weights as the start of a run, and return the folder.

    Raises InvalidConfig where task, labels, targets or rank differ; BaseMismatch, InvalidFolder as the checks.
    """
    parent = read_folder(folder)
    check_folder(parent, base.shapes)
    for what, old, new in (("task", parent.manifest.task, task.name), ("labels", parent.manifest.labels, labels),
                           ("targets", sorted(parent.manifest.method.target_modules), sorted(trained.target_modules))):
        if old != new:
            raise InvalidConfig(f"{folder} has {what} {str(old)[:120]}, this run has {str(new)[:120]}.",
                                hint="Train anew, without --continue-from.")
    arrays = parse_tensors(parent.files[WEIGHTS_FILE], folder, WEIGHTS_FILE)
    state = {name: torch.from_numpy(array.astype("float32")) for name, array in arrays.items()}
    if {name: value.shape for name, value in state.items()} != {n: v.shape for n, v in trained.state().items()}:
        raise InvalidConfig(f"{folder} has rank {parent.manifest.method.rank}, this run has another.",
                            hint=f"Give --rank {parent.manifest.method.rank}.")
    trained.put(state)
    return parent


def _require_targets(model: PreTrainedModel, targets: list[str]) -> None:
    names = [name for name, module in model.named_modules() if isinstance(module, LINEAR)]
    for target in targets:
        if not any(_is_named(name, target) for name in names):
            raise InvalidConfig(f"No linear layer of the base is named {target!r}.",
                                hint=f"It has {', '.join(sorted({n.rpartition('.')[2] for n in names}))}.")


def _is_transposed(model: PreTrainedModel, targets: list[str]) -> bool:
    """Say whether the targets hold their weights as [I, O], which PEFT has to be told."""
    return all(isinstance(module, Conv1D) for name, module in model.named_modules()
               if isinstance(module, LINEAR) and any(_is_named(name, target) for target in targets))


def _is_named(name: str, target: str) -> bool:
    return name == target or name.endswith("." + target)
