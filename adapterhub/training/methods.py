"""Methods: a base under a head becomes a model whose few trained tensors PEFT knows."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from peft import PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from adapterhub.bases.load import Base
from adapterhub.errors import InvalidConfig
from adapterhub.tasks.loading import load_for
from adapterhub.tasks.task import Task
from adapterhub.training.adalora import RankBudget
from adapterhub.training.config import TrainConfig
from adapterhub.training.method_table import find_method
from adapterhub.training.peft_configs import peft_config_of
from adapterhub.training.preset import freeze, in_upper_layers
from adapterhub.training.quantized import load_in_4_bits
from adapterhub.training.targets import targets_of

State = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """A model ready for training, and what belongs to its adapter."""

    model: PreTrainedModel | PeftModel
    head_modules: list[str]
    """Trained and saved whole, beside the delta."""
    target_modules: list[str]
    budget: RankBudget | None = None
    """AdaLoRA's."""

    @property
    def is_adapter(self) -> bool:
        """False for full fine-tuning."""
        return isinstance(self.model, PeftModel)

    @property
    def peft_config(self) -> PeftConfig:
        """PEFT's configuration of the adapter."""
        assert isinstance(self.model, PeftModel), "full fine-tuning has none"
        return self.model.peft_config["default"]

    @property
    def rank(self) -> int:
        """The rank, 0 where the method has none."""
        return int(getattr(self.peft_config, "target_r", getattr(self.peft_config, "r", 0)))

    def state(self) -> State:
        """Return a copy of the trained tensors, in PEFT's names."""
        tensors = (get_peft_model_state_dict(self.model, save_embedding_layers=False) if self.is_adapter
                   else self.model.state_dict())
        return {name: whole(value.detach()).cpu().clone() for name, value in tensors.items()}

    def put(self, state: Mapping[str, torch.Tensor]) -> None:
        """Set the trained tensors; every name must be known."""
        if self.is_adapter:
            result = set_peft_model_state_dict(self.model, dict(state))
            unexpected = result.unexpected_keys  # type: ignore[attr-defined]  # torch's named tuple is untyped
            if self.peft_config.is_prompt_learning:  # PEFT puts them by hand, behind what it reports
                unexpected = [name for name in unexpected if name != "prompt_embeddings"]
            assert not unexpected, f"PEFT did not expect {unexpected[:3]}"
        else:
            self.model.load_state_dict(dict(state))

    def parameters(self) -> list[torch.nn.Parameter]:
        """Return what training changes."""
        return [value for value in self.model.parameters() if value.requires_grad]

    def head_parameters(self) -> list[torch.nn.Parameter]:
        """Return what training changes of the head."""
        return [value for name, value in self.model.named_parameters()
                if value.requires_grad and not set(self.head_modules).isdisjoint(name.split("."))]

    @property
    def n_trained(self) -> int:
        """Parameters that training changes."""
        return sum(value.numel() for value in self.parameters())


def whole(value: torch.Tensor) -> torch.Tensor:
    """Gather a tensor that FSDP has spread over processes, which all must ask for it; return any other as it is."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def build_model(config: TrainConfig, base: Base, task: Task, labels: list[str], *, n_steps: int = 0) -> TrainedModel:
    """Put the task's head on the base and, unless the method is `full`, freeze it under the method's delta.

    `n_steps` are the run's, for methods that plan ahead. Raises InvalidConfig for targets that the base does not have,
    for options that the method cannot take, and where nothing is left to train; UnknownName for options that it does
    not know.
    """
    model = load_for(base, task, labels)
    head = head_modules(model)
    if config.method == "full":
        model.requires_grad_(requires_grad=True)
        freeze(model, config.frozen, head)
        if not any(value.requires_grad for value in model.parameters()):
            raise InvalidConfig(f"{task.name} has no head that could be trained alone.",
                                hint="Leave out frozen, or train an adapter.")
        return TrainedModel(model=model, head_modules=head, target_modules=[])
    if config.method == "qlora":
        model = load_in_4_bits(base, task, labels, whole=_paths(model, head))
    targets = [] if find_method(config.method).is_for_writing else targets_of(config, model)
    if config.upper_layers is not None:
        targets = in_upper_layers(model, targets, config.upper_layers)
    adapted = get_peft_model(model, peft_config_of(config, model, task.peft_task_type, targets, head, n_steps))
    assert isinstance(adapted, PeftModel), "no mixture of methods is asked for"
    return TrainedModel(model=adapted, head_modules=head, target_modules=targets,
                        budget=RankBudget(adapted) if config.method == "adalora" else None)


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


def _paths(model: PreTrainedModel, modules: list[str]) -> list[str]:
    """Return the full names of modules that are known by their last one."""
    return [path for path, _ in model.named_modules() if path.rpartition(".")[2] in modules]
