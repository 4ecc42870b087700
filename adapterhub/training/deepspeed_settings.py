"""What a DeepSpeed configuration leaves to the trainer, and what the trainer cannot take of one."""

from typing import Any

from accelerate import Accelerator

from adapterhub.errors import InvalidConfig

LAST_STAGE = 2
"""Of ZeRO: from stage 3 on weights are spread too, and an adapter cannot be read where it lies."""


def settle_deepspeed(accelerator: Accelerator, *, batch_size: int, max_grad_norm: float) -> None:
    """Put the run's own batch, passes and clipping into Accelerate's DeepSpeed configuration; else do nothing.

    Raises InvalidConfig for a configuration that has an optimiser or a schedule, or spreads the weights.
    """
    plugin = accelerator.state.deepspeed_plugin
    if plugin is None:
        return
    given: dict[str, Any] = plugin.deepspeed_config
    for name, instead in (("optimizer", "--learning-rate and --weight-decay"), ("scheduler", "--schedule")):
        if name in given:
            raise InvalidConfig(f"The DeepSpeed configuration has {name!r}, which is the run's own.",
                                hint=f"Take it out, and give {instead}.")
    if (stage := int(plugin.zero_stage)) > LAST_STAGE:
        raise InvalidConfig(f"The DeepSpeed configuration asks for ZeRO stage {stage}, expected up to {LAST_STAGE}: "
                            "from 3 on an adapter's tensors lie in parts.",
                            hint=f"Take stage {LAST_STAGE}, or FSDP version 2, which spreads weights and gathers them.")
    # Each pass is a part of one step's sum: DeepSpeed must not divide by their number once more.
    given |= {"train_micro_batch_size_per_gpu": max(1, batch_size // accelerator.num_processes),
              "train_batch_size": "auto", "gradient_accumulation_steps": 1, "gradient_clipping": max_grad_norm}
