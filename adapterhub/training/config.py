"""One training run's settings, checked once."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from adapterhub.bases.embedded import EMBEDDED
from adapterhub.errors import InvalidConfig, UnknownName

METHODS: dict[str, float] = {"lora": 2e-3, "full": 1e-4}
"""Method -> default learning rate. `full` fine-tunes the whole base, for comparison only; it gives no adapter.

The rates were read off banking77 on the embedded base (0.934 at 2e-3 with rank 8 after 6 epochs).
"""
ALL_LINEAR = "all-linear"
LENGTH = 128
TASK_LENGTHS = {"question-answering": 384}
"""Tokens of a sequence, where they are not given. Source of 384: Devlin et al. 2018 (BERT), run_squad.py."""
DTYPES = ("auto", "float16", "float32")
PRECISIONS = ("auto", "bfloat16", "float32")
SCHEDULES = ("linear", "cosine", "constant", "polynomial", "inverse_sqrt")
"""Names of transformers' schedules; each with a warm-up."""
LEAST_STEPS, LEAST_EPOCHS, MOST_EPOCHS = 150, 8, 40
"""What few rows need. Measured on the example entities (192 rows, rate 2e-3, one seed): entity F1 0.667 after 78 steps,
0.857 after 140, 0.865 after 156, 0.850 after 260; rows per step (8, 16, 32) and rate (2e-3, 4e-3) matter less."""
FEW_ROWS, SMALL_BATCH, LARGE_BATCH = 1000, 16, 32
"""Smaller batches give few rows their steps in half the epochs, which is half the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlan:
    """How many steps a run makes unless it stops earlier."""

    n_rows: int
    n_epochs: int
    batch_size: int
    """Rows per step."""

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one pass over the rows, the last one perhaps with fewer rows."""
        return max(1, math.ceil(self.n_rows / self.batch_size))

    @property
    def n_steps(self) -> int:
        """Steps of all epochs."""
        return self.n_epochs * self.steps_per_epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """What to train, on what, and how. Fields left at None get the task's or the method's default."""

    task: str
    """A task's name, as in the Hugging Face pipelines; `adapterhub.tasks.table` lists them."""
    data: str
    """A file, a folder with train/validation/test, or a Hugging Face dataset's name."""
    output: Path
    """The adapter folder to write; must not exist, or be empty."""
    base: str = EMBEDDED
    """`embedded`, a local folder, or a Hub id."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Field -> column, where the columns have uncommon names."""
    method: str = "lora"
    rank: int = 8
    """LoRA's R, 1 to 256."""
    alpha: float | None = None
    """LoRA's alpha; None: twice the rank."""
    dropout: float = 0.0
    """In front of each A, 0 to 0.9. Default 0: measured, 0.1 costs 40 % of the speed here and gains nothing."""
    targets: str | tuple[str, ...] = ALL_LINEAR
    """Names of linear layers (a string: separated by commas), or `all-linear` for all of the encoder."""
    epochs: int | None = None
    """Passes over the training rows; None: 8, and on few rows as many as give 150 steps, at most 40."""
    batch_size: int | None = None
    """Rows per step; None: 32, with fewer than 1,000 training rows 16."""
    learning_rate: float | None = None
    weight_decay: float = 0.01
    warmup: float = 0.06
    """Share of the steps over which the rate rises from 0."""
    schedule: str = "linear"
    """What the rate does after the warm-up: `SCHEDULES`."""
    max_grad_norm: float = 1.0
    accumulation: int = 1
    """Passes that each step's rows are split into, for less memory; the gradient stays the same."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them: a quarter of the memory, more time."""
    precision: str = "auto"
    """What the loss is computed in: auto is bfloat16 where the device computes it natively, else float32."""
    max_length: int | None = None
    """Tokens after which a text is cut, or of one stretch of a long context; None: the task's, within the base's."""
    metric: str | None = None
    """Validation metric that chooses the best epoch; None: the task's first."""
    patience: int = 3
    """Epochs without a better metric after which training stops."""
    fractions: tuple[float, float, float] = (0.70, 0.15, 0.15)
    """Train, validation and test shares of a single file."""
    is_validated: bool = True
    """False: train on the validation rows too and keep the last epoch."""
    seed: int = 0
    dtype: str = "auto"
    """Of the stored tensors; auto: float16 where the metric does not move, else float32."""
    trackers: tuple[str, ...] = ("jsonl",)
    """Where figures go: `jsonl` is OUTPUT.run/log.jsonl; any tracker that Accelerate knows beside it."""
    checkpoint_seconds: float = 60.0
    """Least time between two checkpoints: 0 is after every step, inf only when the run is stopped."""
    continue_from: Path | None = None
    """An adapter folder whose weights are the start; its task, labels and base must be the same."""
    licence: str = ""
    """Of the data, for the card."""
    source: str = ""
    """Of the data, for the card."""
    name: str = ""
    """Of the data, for the card; default: the file's or folder's own name."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UnknownName("method", self.method, METHODS)
        if self.dtype not in DTYPES:
            raise UnknownName("dtype", self.dtype, DTYPES)
        if self.precision not in PRECISIONS:
            raise UnknownName("precision", self.precision, PRECISIONS)
        if self.schedule not in SCHEDULES:
            raise UnknownName("schedule", self.schedule, SCHEDULES)
        _require("rank", self.rank, low=1, high=256)
        _require("alpha", self.scaled_alpha, low=1e-3, high=1e4)
        _require("dropout", self.dropout, low=0, high=0.9)
        if self.epochs is not None:
            _require("epochs", self.epochs, low=1, high=1000)
        if self.batch_size is not None:
            _require("batch_size", self.batch_size, low=1, high=4096)
        _require("max_length", self.length, low=8, high=131072)
        _require("patience", self.patience, low=1, high=1000)
        _require("warmup", self.warmup, low=0, high=0.9)
        _require("learning_rate", self.rate, low=1e-8, high=1.0)
        _require("weight_decay", self.weight_decay, low=0, high=1)
        _require("max_grad_norm", self.max_grad_norm, low=1e-6, high=1e6)
        _require("accumulation", self.accumulation, low=1, high=4096)
        _require("checkpoint_seconds", self.checkpoint_seconds, low=0, high=math.inf)
        _require("seed", self.seed, low=0, high=2**32 - 1)
        if not self.target_names:
            raise InvalidConfig("targets names no layer.", hint=f"Name linear layers, or give {ALL_LINEAR}.")
        if len(self.fractions) != 3 or not all(0 <= share <= 1 for share in self.fractions) or not self.fractions[0]:
            raise InvalidConfig(f"fractions are {self.fractions}, expected the shares of train, validation and test.",
                                hint="Give three numbers from 0 to 1, the first above 0.")

    @property
    def rate(self) -> float:
        """The learning rate that is used."""
        return METHODS[self.method] if self.learning_rate is None else self.learning_rate

    @property
    def length(self) -> int:
        """The tokens that are used."""
        return self.max_length or TASK_LENGTHS.get(self.task, LENGTH)

    @property
    def target_names(self) -> tuple[str, ...]:
        """The targets, each by its name; `all-linear` stands alone."""
        given = self.targets.split(",") if isinstance(self.targets, str) else self.targets
        return tuple(name.strip() for name in given if name.strip())

    def plan_for(self, n_rows: int) -> StepPlan:
        """Return the epochs and the rows per step with which `n_rows` training rows are learned."""
        batch_size = self.batch_size or (SMALL_BATCH if n_rows < FEW_ROWS else LARGE_BATCH)
        plan = StepPlan(n_rows=n_rows, n_epochs=LEAST_EPOCHS, batch_size=batch_size)
        n_epochs = min(MOST_EPOCHS, max(LEAST_EPOCHS, math.ceil(LEAST_STEPS / plan.steps_per_epoch)))
        return replace(plan, n_epochs=self.epochs or n_epochs)

    @property
    def scaled_alpha(self) -> float:
        """The alpha that is used."""
        return 2.0 * self.rank if self.alpha is None else self.alpha

    def hyperparameters(self) -> dict[str, str | int | float | bool | None]:
        """Return what decides the result, as plain values for the manifest."""
        return {"method": self.method, "rank": self.rank, "alpha": self.scaled_alpha, "dropout": self.dropout,
                "targets": ",".join(self.target_names),
                "epochs": self.epochs, "batch_size": self.batch_size, "learning_rate": self.rate,
                "weight_decay": self.weight_decay, "warmup": self.warmup, "max_grad_norm": self.max_grad_norm,
                "schedule": self.schedule, "precision": self.precision,
                "max_length": self.length, "metric": self.metric, "patience": self.patience,
                "is_validated": self.is_validated}


def _require(name: str, value: float, *, low: float, high: float) -> None:
    if not low <= value <= high:
        raise InvalidConfig(f"{name} is {value}, expected {low} to {high}.", hint=f"Give --{name.replace('_', '-')}.")
