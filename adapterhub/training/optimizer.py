"""The optimiser and its schedule: torch's AdamW over what is trained, transformers' schedules over the run's steps."""

from typing import Any

import torch
from peft import PeftModel
from peft.optimizers import create_loraplus_optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

from adapterhub.training.config import StepPlan, TrainConfig
from adapterhub.training.methods import TrainedModel
from adapterhub.training.peft_configs import extra_option


def build_optimizer(config: TrainConfig, trained: TrainedModel) -> torch.optim.Optimizer:
    """Return the optimiser over the trained tensors; the head may have a rate of its own, with LoRA+ B has one.

    Source: Hayou et al. 2024 (LoRA+), arXiv 2402.12354; the groups are PEFT's.
    """
    if config.method == "loraplus":
        assert isinstance(trained.model, PeftModel), "LoRA+ is an adapter's"
        optimizer: torch.optim.Optimizer = create_loraplus_optimizer(
            trained.model, torch.optim.AdamW, lr=config.rate, loraplus_weight_decay=config.weight_decay,
            loraplus_lr_ratio=extra_option(config, "loraplus_lr_ratio"))
        return optimizer
    head = trained.head_parameters() if config.head_rate != config.rate else []
    if not head:
        return torch.optim.AdamW(trained.parameters(), lr=config.rate, weight_decay=config.weight_decay)
    apart = set(map(id, head))
    rest = [value for value in trained.parameters() if id(value) not in apart]
    groups: list[dict[str, Any]] = [{"params": rest}, {"params": head, "lr": config.head_rate}]
    return torch.optim.AdamW(groups, lr=config.rate, weight_decay=config.weight_decay)


def build_schedule(config: TrainConfig, optimizer: torch.optim.Optimizer, plan: StepPlan) -> LRScheduler:
    """Return the schedule: a rise over the warm-up's share of the steps, then as its name says."""
    name = "constant_with_warmup" if config.schedule == "constant" else config.schedule
    schedule: LRScheduler = get_scheduler(name, optimizer, num_warmup_steps=int(config.warmup * plan.n_steps),
                                          num_training_steps=plan.n_steps)
    return schedule
