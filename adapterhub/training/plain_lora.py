"""What was trained on other weights than the base's own becomes LoRA on the whole base, as everybody loads it.

PiSSA and OLoRA take their start out of the weights; QLoRA's base is held in 4 bits.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer

from adapterhub.bases.load import Base
from adapterhub.tasks.loading import load_for
from adapterhub.tasks.task import Task
from adapterhub.training.methods import State, TrainedModel
from adapterhub.training.peft_configs import moves_base
from adapterhub.training.quantized import is_quantized

_A, _B = ".lora_A.weight", ".lora_B.weight"


def as_plain_lora(trained: TrainedModel, base: Base, task: Task, labels: list[str], start: Mapping[str, torch.Tensor],
                  state: State) -> tuple[TrainedModel, State]:
    """Return the model and tensors that are exported: for PiSSA and OLoRA a LoRA of twice the rank.

    For QLoRA the tensors are the trained ones, on the whole base; for all other methods everything is as given.

    `start` holds the tensors as they were initialised, `state` the trained ones.
    Source: Meng et al. 2024 (PiSSA), arXiv 2404.02948 §3: the change is BA - B0 A0. It is written here as
    B (A - A0) + (B - B0) A0, so that 16 bits round what changed and not the base's largest singular values.
    """
    if not trained.is_adapter or not (moves_base(trained.peft_config) or is_quantized(trained.model)):
        return trained, state
    old = trained.peft_config
    assert isinstance(old, LoraConfig), "only LoRA is trained on other weights"
    if is_quantized(trained.model):
        config = replace(old, target_modules=list(trained.target_modules), inference_mode=False)
        whole = replace(trained, model=get_peft_model(load_for(base, task, labels), config))
        whole.put(state)
        return whole, state
    scaling = next(module.scaling["default"] for module in trained.model.modules() if isinstance(module, LoraLayer))
    config = replace(old, r=2 * old.r, lora_alpha=scaling * 2 * old.r, use_rslora=False, init_lora_weights=True,
                     target_modules=list(trained.target_modules), inference_mode=False)
    model = get_peft_model(load_for(base, task, labels), config)
    plain = replace(trained, model=model)
    state = {name: _wide(name, start, state) for name in state}
    plain.put(state)
    return plain, state


def _wide(name: str, start: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> torch.Tensor:
    if name.endswith(_A):
        return torch.cat([state[name] - start[name], start[name]])
    if name.endswith(_B):
        return torch.cat([state[name], state[name] - start[name]], dim=1)
    return state[name]
