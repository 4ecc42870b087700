"""Which of a run's processes this is, as Accelerate knows it; alone without a launcher."""

import torch
from accelerate import PartialState


def process_state() -> PartialState:
    """Return this process's place among those that a launcher started."""
    return PartialState(cpu=is_on_cpu())


def is_on_cpu() -> bool:
    """Say whether there is no other device; Accelerate must be told, or processes do not find each other."""
    return not torch.accelerator.is_available()
