"""Which of a run's processes this is, as Accelerate knows it; alone without a launcher."""

import torch
from accelerate import DistributedType, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import parse_flag_from_env


def process_state() -> PartialState:
    """Return this process's place among those that a launcher started."""
    return PartialState(cpu=is_on_cpu())


def is_spread_out() -> bool:
    """Say whether processes hold parts of one model (FSDP, DeepSpeed), so that none can measure or write it alone.

    To be asked once an Accelerator is there: it is what reads such settings.
    """
    return AcceleratorState().distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED)


def will_be_spread_out() -> bool:
    """Say the same before an Accelerator is there, by what a launcher set."""
    return any(map(parse_flag_from_env, ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")))


def is_on_cpu() -> bool:
    """Say whether there is no other device; Accelerate must be told, or processes do not find each other."""
    return not torch.accelerator.is_available()


def training_device() -> torch.device:
    """Return the device on which Accelerate would train, before an Accelerator is there."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
