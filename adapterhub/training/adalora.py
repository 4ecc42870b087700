"""AdaLoRA's budget of ranks while it trains, and what of it goes into the file.

Source: Zhang et al. 2023 (AdaLoRA), arXiv 2303.10512; the allocation is PEFT's own.
"""

from collections.abc import Mapping
from typing import Any

import torch
from peft import AdaLoraModel, PeftModel

_VALUES, _SIDES = ".lora_E", (".lora_A", ".lora_B")


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


def trimmed(state: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, list[bool]]]:
    """Leave out the ranks whose value is zero, and return PEFT's rank pattern with what is left.

    A layer that lost all keeps one, since PEFT cannot load none; its value is zero as well.
    """
    kept, pattern = dict(state), {}
    for name in [name for name in state if name.endswith(_VALUES)]:
        module = name.removesuffix(_VALUES)
        mask = state[name].flatten() != 0
        if not mask.any():
            mask[0] = True
        kept[name] = state[name][mask]
        kept[f"{module}.lora_A"], kept[f"{module}.lora_B"] = (state[f"{module}.lora_A"][mask],
                                                              state[f"{module}.lora_B"][:, mask])
        pattern[f"{module.removeprefix('base_model.model.')}{_VALUES}"] = [bool(value) for value in mask]
    return kept, pattern
