"""One of several processes that hold parts of one run, by FSDP2 or DeepSpeed, without a GPU: `torchrun` starts it.

Accelerate spreads runs over GPUs alone; that both do it on processors as well is hidden from it by the type of place it
believes in. Everything else is Accelerate's and theirs.
"""

import json
import os
import signal
import sys
from typing import cast

from accelerate import DistributedType, PartialState
from accelerate.state import AcceleratorState

from adapterhub.errors import TrainingStopped
from adapterhub.settings import Settings
from adapterhub.training import loop
from adapterhub.training.config_file import parse_config
from adapterhub.training.run import run_training
from adapterhub.training.run_folder import Start
from adapterhub.training.watch import EpochFacts, StepFacts


class Stop:
    """Asks for the run's end at a step."""

    def __init__(self, n_steps: int) -> None:
        self.n_steps = n_steps

    def step_ended(self, facts: StepFacts) -> None:
        """Ask, as a machine that is shut down does."""
        if facts.step == self.n_steps:
            os.kill(os.getpid(), signal.SIGTERM)

    def epoch_ended(self, facts: EpochFacts) -> None:
        """Do nothing."""


if __name__ == "__main__":
    state = PartialState(cpu=True)
    kind = DistributedType.DEEPSPEED if "ACCELERATE_USE_DEEPSPEED" in os.environ else DistributedType.FSDP
    if kind is DistributedType.DEEPSPEED:
        import deepspeed

        deepspeed.init_distributed("gloo", auto_mpi_discovery=False)
        loop.is_on_cpu = lambda: False  # Accelerate leaves DeepSpeed out where it is told to stay on processors
        PartialState._shared_state["distributed_type"] = kind
    else:
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    config, start, n_steps = parse_config(json.loads(sys.argv[1])), cast("Start", sys.argv[2]), int(sys.argv[3])
    told: object
    try:
        result = run_training(config, Settings.from_environment(), start=start, watchers=[Stop(n_steps)])
        told = result.evaluation.metrics
    except TrainingStopped as stopped:
        told = {"stopped": stopped.step}
    assert AcceleratorState().distributed_type is kind
    if state.is_main_process:
        print(json.dumps(told))
    state.destroy_process_group()
