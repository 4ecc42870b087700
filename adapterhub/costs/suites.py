"""What is compared: the named suites, and a user's own data as a suite of one task."""

import os
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path

import torch

from adapterhub.bases.embedded import EMBEDDED
from adapterhub.costs.arms import ARMS, Arm, find_arm
from adapterhub.costs.shapes import SCALE_SHAPES
from adapterhub.errors import DataError, InvalidConfig, UnknownName
from adapterhub.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedTask:
    """One task on one base, and how long every arm learns it."""

    name: str
    task: str
    data: str
    epochs: int
    base: str = EMBEDDED
    batch_size: int = 32
    max_length: int = 128
    n_rows: int | None = None
    """Training rows, drawn from the data's; None: all."""
    arms: tuple[str, ...] = ()
    """The arms of the suite that learn it; none: all."""

    @property
    def base_name(self) -> str:
        """The base without its place on this machine."""
        return Path(self.base).name if Path(self.base).is_dir() else self.base


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """What one comparison runs."""

    name: str
    tasks: tuple[ComparedTask, ...]
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    is_tuned: bool
    """Whether each arm's learning rate is searched first; else its first one is taken."""
    n_at_once: int = 4
    """Arms that take turns; each holds a model in memory meanwhile."""
    grid_batches: tuple[int, ...] = ()
    grid_lengths: tuple[int, ...] = ()
    """Batch sizes and lengths at which a step's memory and time are measured beside their estimate."""
    grid_arms: tuple[str, ...] = ("full", "lora-qv-r8", "lora-r8", "lean")
    grid_bases: tuple[str, ...] = ()
    """Bases of the grid; none: the first task's."""
    served: str = ""
    """Reference of the adapter that is served under many names; empty: the serving side is left out."""
    task_counts: tuple[int, ...] = (1, 4, 16, 64, 256)
    """Tasks that are served."""
    most_models: int = 4
    """Full models that are really loaded there; more are extrapolated, and marked so."""


SCALE_ARMS = ("full", "lora-qv-r8", "lora-r8", "lora-r32", "dora-r8", "lora-r8-checkpointing", "lean")
QUICK_ARMS = ("full", "head", "lora-qv-r8", "lora-r8", "lean")
SUITES = ("quick", "text", "scale")
SERVED = "support/banking77"
"""A shipped adapter of the embedded base."""
_SHORT_ARMS = ("full", "head", "lora-qv-r8", "lora-r8", "lean", "bare")
"""What a task shows that is not there to tell the methods apart: whether the trade holds for it."""
TEXT_TASKS = (
    ComparedTask(name="banking77", task="text-classification", data="banking77", n_rows=2000, epochs=6),
    ComparedTask(name="sentfin", task="text-classification", data="sentfin", n_rows=2000, epochs=4, arms=_SHORT_ARMS),
    ComparedTask(name="wnut17", task="token-classification", data="wnut17", n_rows=1200, epochs=5, batch_size=16,
                 arms=_SHORT_ARMS),
    ComparedTask(name="medquad", task="sentence-similarity", data="medquad", n_rows=800, epochs=2, max_length=64,
                 arms=_SHORT_ARMS))
"""A thousand or two drawn rows each, as most tasks have, and so few that a machine of two cores ends in a night."""


def find_suite(name: str, settings: Settings) -> Suite:
    """Return a suite by its name. Raises UnknownName; DataError where its data are not on this machine."""
    if name == "quick":
        return quick_suite()
    if name == "text":
        return text_suite(settings)
    if name == "scale":
        return scale_suite()
    raise UnknownName("suite", name, SUITES)


def quick_suite() -> Suite:
    """Return the comparison of about three minutes: the example intents, the arms that differ most."""
    with as_file(files("adapterhub.examples")) as examples:
        data = str(examples / "intents.csv")
    task = ComparedTask(name="intents", task="text-classification", data=data, epochs=3, batch_size=16, max_length=64)
    return Suite(name="quick", tasks=(task,), arms=tuple(map(find_arm, QUICK_ARMS)), seeds=(0,), is_tuned=False,
                 n_at_once=5, grid_batches=(4, 16), grid_lengths=(16, 64), grid_arms=("full", "lora-r8"),
                 served=SERVED, task_counts=(1, 4, 100), most_models=4)


def text_suite(settings: Settings) -> Suite:
    """Return the comparison of hours on four public data sets. Raises DataError where one is not here."""
    if settings.data is None or not (settings.data / "data").is_dir():
        raise DataError("The suite text needs banking77, wnut17, sentfin and medquad, and they are not here.",
                        hint="Set ADAPTERHUB_DATA to the folder whose data/ holds them, or take --suite quick.")
    place = settings.data / "data"
    missing = [task.name for task in TEXT_TASKS if not (place / task.data).is_dir()]
    if missing:
        raise DataError(f"{place} lacks {', '.join(missing)}.", hint="Fetch them, or take --suite quick.")
    tasks = tuple(replace(task, data=str(place / task.data)) for task in TEXT_TASKS)
    return Suite(name="text", tasks=tasks, arms=tuple(ARMS.values()), seeds=(0, 1, 2), is_tuned=True,
                 grid_batches=(8, 32), grid_lengths=(16, 64, 128), served=SERVED, most_models=16)


def scale_suite() -> Suite:
    """Return the comparison of cost alone on large language models' shapes. Raises InvalidConfig without a GPU."""
    if not torch.cuda.is_available():
        raise InvalidConfig("The suite scale trains models of 1, 3 and 8 billion parameters, and there is no CUDA GPU "
                            "here.", hint="Run it on a machine with one, or take --suite quick.")
    return Suite(name="scale", tasks=(), arms=(), seeds=(), is_tuned=False, grid_batches=(4,), grid_lengths=(256, 768),
                 grid_arms=SCALE_ARMS, grid_bases=SCALE_SHAPES)


def own_suite(task: ComparedTask, arms: tuple[str, ...], n_seeds: int) -> Suite:
    """Return a comparison on a user's rows. Raises UnknownName for an arm, InvalidConfig for no seed."""
    if n_seeds < 1:
        raise InvalidConfig(f"--seeds is {n_seeds}, expected 1 or more.", hint="Three seeds give an interval.")
    chosen = arms or tuple(name for name in ARMS if name != "bare")
    return Suite(name=task.name, tasks=(task,), arms=tuple(map(find_arm, chosen)), seeds=tuple(range(n_seeds)),
                 is_tuned=True, grid_batches=(), grid_lengths=())


def parse_data_name(data: str) -> str:
    """Return a short name for a user's rows."""
    return Path(os.path.normpath(data)).name.partition(".")[0] or "rows"
