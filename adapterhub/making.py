"""An adapter made: trained, reloaded by stock PEFT, and proved by the runtime that will serve it."""

from collections.abc import Sequence
from pathlib import Path

from adapterhub.errors import TrainingError
from adapterhub.progress import ShowProgress, progress_bar
from adapterhub.runtime.measure import verify_probe
from adapterhub.settings import Settings
from adapterhub.training.config import TrainConfig
from adapterhub.training.processes import run_in_processes
from adapterhub.training.run import Tell, TrainResult, run_training
from adapterhub.training.run_folder import Start
from adapterhub.training.watch import Watcher


def train(config: TrainConfig, settings: Settings | None = None) -> Path:
    """Train one adapter and return its folder. Raises an AdapterHubError for what the input causes.

    Example: `train(TrainConfig(task="text-classification", data="rows.csv", output=Path("folder")))`
    """
    folder = make_adapter(config, settings or Settings.from_environment()).folder
    if folder is None:
        raise TrainingError(f"Method {config.method!r} gives no adapter.", hint="Use method='lora'.")
    return folder


def make_adapter(config: TrainConfig, settings: Settings, show: ShowProgress = progress_bar, *, start: Start = "new",
                 watchers: Sequence[Watcher] = (), tell: Tell | None = None, n_processes: int = 1) -> TrainResult:
    """Train as `run_training` does; before the folder is moved into place, the runtime must answer its probe alike.

    Raises as `run_training`; InvalidFolder where the runtime's answers differ. With more than one process nobody looks
    on or is told.
    """
    if n_processes > 1:
        return run_in_processes(config, settings, n_processes, start=start, prove=verify_probe)
    return run_training(config, settings, show, start=start, watchers=watchers, tell=tell, prove=verify_probe)
