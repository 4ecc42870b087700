"""One run on several processes of this machine, started by torch's own launcher; each makes its share of every step."""

import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from adapterhub.errors import AdapterHubError, TrainingError
from adapterhub.settings import Settings
from adapterhub.training.config import TrainConfig
from adapterhub.training.export import Prove
from adapterhub.training.ranks import process_state
from adapterhub.training.run import TrainResult, run_training
from adapterhub.training.run_folder import Start


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """What each process is told."""

    config: TrainConfig
    settings: Settings
    start: Start
    prove: Prove | None
    faults: Path
    """A folder for what went wrong, one file per process."""


def run_in_processes(config: TrainConfig, settings: Settings, n_processes: int, *, start: Start = "new",
                     prove: Prove | None = None) -> TrainResult:
    """Train as `run_training` does, spread over processes: the same steps, within rounding.

    Raises as `run_training`; TrainingError where a process ended without a word.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // n_processes)))
    launch = LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=n_processes, rdzv_backend="c10d",
                          rdzv_endpoint="localhost:0", max_restarts=0, run_id=f"adapterhub-{os.getpid()}")
    with tempfile.TemporaryDirectory() as faults:
        share = _Share(config=config, settings=settings, start=start, prove=prove, faults=Path(faults))
        logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # the sentence below says it
        try:
            results = elastic_launch(launch, _train_share)(share)
        except (ChildFailedError, SignalException) as error:
            told = sorted(Path(faults).iterdir(), key=lambda path: path.stat().st_mtime_ns)  # the first to fail
            sentence = told[0].read_text(encoding="utf-8") if told else f"A process ended early: {error}"
            raise TrainingError(sentence) from error
    result: TrainResult = results[0]
    return result


def _train_share(share: _Share) -> TrainResult:
    try:
        result = run_training(share.config, share.settings, start=share.start, prove=share.prove)
    except AdapterHubError as error:
        (share.faults / os.environ["RANK"]).write_text(str(error), encoding="utf-8")
        raise SystemExit(1) from error
    process_state().destroy_process_group()
    return result
