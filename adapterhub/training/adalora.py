"""AdaLoRA's budget of ranks while it trains.

The file holds every rank, those taken away with a value of zero: PEFT's own pattern, which leaves them out, makes it
warn at each load that the pattern is ignored.
Source: Zhang et al. 2023 (AdaLoRA), arXiv 2303.10512; the allocation is PEFT's own.
"""

from collections.abc import Mapping
from typing import Any

import torch
from peft import AdaLoraModel, PeftModel

_SIDES = (".lora_A", ".lora_B")


class RankBudget:
    """The part of a run that takes ranks away from where they are worth least."""

    def __init__(self, model: PeftModel) -> None:
        assert isinstance(model.base_model, AdaLoraModel), "only AdaLoRA has a budget"
        self._tuner: Any = model.base_model
        self._config: Any = model.peft_config["default"]
        self._pattern: dict[str, list[bool]] | None = None

    def after_step(self, step: int) -> None:
        """Spread the budget anew; `step` counts from 1. Called while the gradients are still there."""
        # Outside of this call the configuration holds no pattern: with one, PEFT cuts the tensors that it gives.
        self._config.rank_pattern = self._pattern
        self._tuner.update_and_allocate(step)
        self._pattern, self._config.rank_pattern = self._config.rank_pattern, None

    def penalty(self) -> torch.Tensor:
        """Return what keeps A's rows and B's columns orthogonal, weighed, a scalar with its graph.

        Source: equation 4 of the paper; PEFT adds it only to a loss that the model itself computes.
        """
        norms = []
        for name, value in self._tuner.model.named_parameters():
            if value.requires_grad and any(f"{side}." in name for side in _SIDES):
                product = value @ value.T if ".lora_A." in name else value.T @ value
                norms.append(torch.linalg.matrix_norm(product - torch.eye(len(product), device=value.device)))
        weight = float(self._config.orth_reg_weight)
        return weight * torch.stack(norms).mean()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs beside the tensors: the sensitivities, and which ranks are left."""
        allocator = self._tuner.rankallocator
        return {"average": allocator.exp_avg_ipt, "uncertainty": allocator.exp_avg_unc,
                "rank_pattern": self._pattern}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        allocator = self._tuner.rankallocator
        allocator.exp_avg_ipt, allocator.exp_avg_unc = dict(state["average"]), dict(state["uncertainty"])
        allocator.ipt = {name: torch.zeros_like(value) for name, value in allocator.exp_avg_ipt.items()}
        self._pattern = state["rank_pattern"]
