"""What training does not move is held in the type that steps compute in: half the memory of a frozen base.

For a linear layer that changes no bit. Autocast rounds its weights at each use, and keeps the rounded copy until the
backward pass; here they are rounded once. Embeddings are rounded too, as the runtime does in bfloat16, and what is
looked up in them goes on in float32, so that the sums of the layers above do not lose digits.
"""

from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers.pytorch_utils import Conv1D

from adapterhub.bases.processor import has_native_bfloat16
from adapterhub.training.config import TrainConfig
from adapterhub.training.methods import TrainedModel
from adapterhub.training.quantized import is_quantized
from adapterhub.training.ranks import will_be_spread_out


def computes_in_bfloat16(config: TrainConfig) -> bool:
    """Say whether a run's steps, and what it measures between them, are computed in bfloat16."""
    return has_native_bfloat16() if config.precision == "auto" else config.precision == "bfloat16"


def hold_frozen(config: TrainConfig, trained: TrainedModel) -> bool:
    """Hold the frozen matrices of an adapted model in bfloat16, in place, where the run computes in it; say whether.

    From then on the model computes under autocast alone. All other weights are copied, so that the file that they were
    mapped from leaves memory. PEFT's widening of what its layers are given is left out: autocast narrows it again.
    FSDP and DeepSpeed take one type for all that they spread, and a base in 4 bits is smaller still: both stay.
    """
    if not trained.is_adapter or not computes_in_bfloat16(config):
        return False
    if will_be_spread_out() or is_quantized(trained.model):
        return False
    for module in trained.model.modules():
        if isinstance(module, nn.Linear | Conv1D | nn.Embedding) and not module.weight.requires_grad:
            _narrow(module)
        if isinstance(module, BaseTunerLayer):
            vars(module)["cast_input_dtype_enabled"] = False  # as PEFT's `disable_input_dtype_casting` for a block
    for value in (*trained.model.parameters(), *trained.model.buffers()):
        if value.dtype != torch.bfloat16:
            value.data = value.data.clone()
    return True


def _narrow(module: nn.Linear | Conv1D | nn.Embedding) -> None:
    if module.weight.dtype == torch.float32:  # a tied one may be bfloat16 already
        module.weight.data = module.weight.data.to(torch.bfloat16)
    if isinstance(module, nn.Embedding):
        module.register_forward_hook(_widened)


def _widened(_: nn.Module, __: Any, looked_up: torch.Tensor) -> torch.Tensor:
    return looked_up.float()
