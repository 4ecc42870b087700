"""One training run's settings, checked once."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from adapterhub.bases.embedded import EMBEDDED
from adapterhub.data.balance import require_weights
from adapterhub.errors import InvalidConfig, UnknownName
from adapterhub.training.method_table import find_method

ALL_LINEAR, PATTERN = "all-linear", "re:"
LENGTH = 128
TASK_LENGTHS = {"question-answering": 384, "text-generation": 512, "text2text-generation": 512}
"""Tokens of a sequence, where they are not given. Source of 384: Devlin et al. 2018 (BERT), run_squad.py; of 512:
Raffel et al. 2020 (T5), §3.1.2."""
TASK_RATES = {"token-classification": 0.5}
"""Shares of a method's rate, where the task asks for less. Measured on 1,200 rows of wnut17, where one token in twelve
is part of an entity, LoRA, 380 steps, one seed: at 2e-3 every token is called none to the end; at 1e-3 the validation
rows' entity F1 is 0.47. Full fine-tuning's was 0.49 at the best of three rates."""
TASK_HEAD_RATES = {"token-classification": 5e-3}
"""Learning rates of adapters' heads, where the task asks for one of their own. Measured on the same rows, 375 steps,
LoRA at 1e-3, entity F1 on validation rows: with a head that learns at that rate too, one seed of five names no entity
for two epochs and ends at 0.35, another ends at 0.475; at 5e-3 both name some in the first epoch and end at 0.51."""
PACKED_TASK = "text-generation"
"""The one task whose sequences may hold several texts, or whose prompts may be learned."""
DTYPES = ("auto", "float16", "float32")
PRESETS, FROZEN = ("", "lean"), ("", "embeddings", "trunk")
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
    label_map: Mapping[str, str] = field(default_factory=dict)
    """Old label -> new one, before rows are divided; of tags the entity types, `O` for none."""
    remove_duplicates: bool = False
    """Leave out rows that repeat another, and training rows whose text stands in the validation or test rows too."""
    near_duplicates: float | None = None
    """Also count, and remove if that is asked, texts that have at least this share of word pairs in common; None: no.
    0.5 to 1. Needs the extra `duplicates`."""
    class_weights: str | Mapping[str, float] | None = None
    """How much each label counts in the loss: `balanced`, or by its name (1 where it is not given)."""
    oversample: bool = False
    """Draw training rows of rarer labels again until each label stands as often as the one that has most."""
    stream: bool = False
    """Leave rows on the disk: for what does not fit in memory."""
    method: str = "lora"
    """A name of `method_table.METHODS`."""
    rank: int | None = None
    """LoRA's R, 1 to 256 (VeRA's to 4096); None: the method's, which is 8 for LoRA."""
    alpha: float | None = None
    """LoRA's alpha; None: twice the rank."""
    dropout: float | None = None
    """In front of each A, 0 to 0.9. None: 0; measured, 0.1 costs 40 % of the speed here and gains nothing."""
    targets: str | tuple[str, ...] = ALL_LINEAR
    """Names of linear layers (a string: separated by commas), `re:` with a pattern for whole names, or `all-linear`."""
    method_options: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the method's configuration in PEFT, by PEFT's names."""
    epochs: int | None = None
    """Passes over the training rows; None: 8, and on few rows as many as give 150 steps, at most 40."""
    batch_size: int | None = None
    """Rows per step; None: 32, with fewer than 1,000 training rows 16."""
    learning_rate: float | None = None
    head_learning_rate: float | None = None
    """The head's own; None: the task's, else `learning_rate`."""
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
    pack: bool = False
    """Put several short texts into one sequence of `max_length`, each blind to the others (text-generation)."""
    learn_prompts: bool = False
    """Learn prompts as well as completions (text-generation)."""
    n_written: int = 100
    """Test rows whose answers are written and compared with the right ones, of tasks that write; 0: none."""
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
    preset: str = ""
    """Settings that go together, `PRESETS`; what is given beside it stays. lean: a fraction of the memory and time."""
    upper_layers: int | None = None
    """Adapt only this many of the uppermost layers; None: all."""
    remember_lower: bool = False
    """Run the layers below the lowest trained one once, and keep what they give on disk, instead of in every epoch."""
    frozen: str = ""
    """Of method `full`, what stays as it is: `embeddings`, or `trunk`, which leaves the head; empty: nothing."""
    licence: str = ""
    """Of the data, for the card."""
    source: str = ""
    """Of the data, for the card."""
    name: str = ""
    """Of the data, for the card; default: the file's or folder's own name."""

    def __post_init__(self) -> None:
        self._require_method()
        self._require_parts()
        self._require_lessons()
        if self.dtype not in DTYPES:
            raise UnknownName("dtype", self.dtype, DTYPES)
        if self.precision not in PRECISIONS:
            raise UnknownName("precision", self.precision, PRECISIONS)
        if self.schedule not in SCHEDULES:
            raise UnknownName("schedule", self.schedule, SCHEDULES)
        if self.epochs is not None:
            _require("epochs", self.epochs, low=1, high=1000)
        if self.batch_size is not None:
            _require("batch_size", self.batch_size, low=1, high=4096)
        _require("max_length", self.length, low=8, high=131072)
        _require("patience", self.patience, low=1, high=1000)
        _require("warmup", self.warmup, low=0, high=0.9)
        _require("learning_rate", self.rate, low=1e-8, high=1.0)
        _require("head_learning_rate", self.head_rate, low=1e-8, high=1.0)
        _require("weight_decay", self.weight_decay, low=0, high=1)
        _require("max_grad_norm", self.max_grad_norm, low=1e-6, high=1e6)
        _require("accumulation", self.accumulation, low=1, high=4096)
        _require("checkpoint_seconds", self.checkpoint_seconds, low=0, high=math.inf)
        _require("seed", self.seed, low=0, high=2**32 - 1)
        self._require_rows()
        if not self.target_names:
            raise InvalidConfig("targets names no layer.", hint=f"Name linear layers, or give {ALL_LINEAR}.")
        if len(self.fractions) != 3 or not all(0 <= share <= 1 for share in self.fractions) or not self.fractions[0]:
            raise InvalidConfig(f"fractions are {self.fractions}, expected the shares of train, validation and test.",
                                hint="Give three numbers from 0 to 1, the first above 0.")

    def _require_rows(self) -> None:
        if self.near_duplicates is not None:
            _require("near_duplicates", self.near_duplicates, low=0.5, high=1)
        require_weights(self.class_weights)
        if self.class_weights is not None and self.oversample:
            raise InvalidConfig("class_weights and oversample both make rare labels count more.",
                                hint="Give one of them.")
        if not all(self.label_map.values()):
            raise InvalidConfig("label_map renames a label to nothing.",
                                hint="Give its new name, as in --label-map old=new.")

    def _require_method(self) -> None:
        method = find_method(self.method)
        for name, value, has in (("rank", self.rank, method.rank is not None),
                                 ("alpha", self.alpha, method.alpha_field is not None),
                                 ("dropout", self.dropout, method.dropout_field is not None)):
            if value is not None and not has and method.peft_class:  # `full` is a comparison with the same settings
                raise InvalidConfig(f"{name} is {value}, but method {self.method!r} has none.",
                                    hint=f"Leave {name} out.")
        if method.rank is not None:
            _require("rank", self.used_rank, low=1, high=method.most_rank)
        _require("alpha", self.scaled_alpha, low=1e-3, high=1e4)
        _require("dropout", self.used_dropout, low=0, high=0.9)

        if self.head_learning_rate is not None and self.method == "loraplus":
            raise InvalidConfig("head_learning_rate does not go with method 'loraplus', which has rates of its own.",
                                hint="Leave it out, or take method lora.")

    def _require_lessons(self) -> None:
        _require("n_written", self.n_written, low=0, high=10**6)
        if not self.pack and not self.learn_prompts:
            return
        if self.task != PACKED_TASK:
            raise InvalidConfig(f"pack and learn_prompts are for {PACKED_TASK}, this run is for {self.task}.",
                                hint="Leave them out.")
        if self.pack and self.remember_lower:
            raise InvalidConfig("pack does not go with remember_lower.", hint="Leave out one or the other.")

    def _require_parts(self) -> None:
        if self.preset not in PRESETS:
            raise UnknownName("preset", self.preset, [name for name in PRESETS if name])
        if self.frozen not in FROZEN:
            raise UnknownName("part to freeze", self.frozen, [name for name in FROZEN if name])
        if self.upper_layers is not None:
            _require("upper_layers", self.upper_layers, low=1, high=10000)
        is_whole = bool(self.upper_layers) or self.remember_lower or bool(self.preset)
        if (is_whole and self.method == "full") or (self.frozen and self.method != "full"):
            raise InvalidConfig(f"frozen {self.frozen!r}, preset {self.preset!r} and upper_layers {self.upper_layers} "
                                f"do not go with method {self.method!r}.",
                                hint="frozen is for method full; preset, upper_layers, remember_lower for adapters.")

    @property
    def rate(self) -> float:
        """The learning rate that is used."""
        if self.learning_rate is not None:
            return self.learning_rate
        return find_method(self.method).rate * (TASK_RATES.get(self.task, 1.0) if self.method != "full" else 1.0)

    @property
    def head_rate(self) -> float:
        """The head's learning rate that is used; one that was trained before goes on as the rest does."""
        if self.head_learning_rate is not None:
            return self.head_learning_rate
        is_raw = self.continue_from is None and self.method not in ("full", "loraplus")
        return TASK_HEAD_RATES.get(self.task, self.rate) if is_raw else self.rate

    @property
    def used_rank(self) -> int:
        """The rank that is used; 0 where the method has none."""
        return (find_method(self.method).rank or 0) if self.rank is None else self.rank

    @property
    def used_dropout(self) -> float:
        """The dropout that is used."""
        return self.dropout or 0.0

    @property
    def length(self) -> int:
        """The tokens that are used."""
        return self.max_length or TASK_LENGTHS.get(self.task, LENGTH)

    @property
    def target_names(self) -> tuple[str, ...]:
        """The targets, each by its name; `all-linear` stands alone."""
        if isinstance(self.targets, str) and self.targets.startswith(PATTERN):
            return (self.targets,)  # a pattern may hold commas
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
        """The alpha that is used; without a meaning where the method has none."""
        return 2.0 * max(1, self.used_rank) if self.alpha is None else self.alpha

    def hyperparameters(self) -> dict[str, str | int | float | bool | None]:
        """Return what decides the result, as plain values for the manifest."""
        method = find_method(self.method)
        return {"method": self.method, "rank": self.used_rank if method.rank else None,
                "alpha": self.scaled_alpha if method.alpha_field else None,
                "dropout": self.used_dropout if method.dropout_field else None,
                "targets": ",".join(self.target_names),
                **{f"method_options.{name}": value if isinstance(value, str | int | float | bool) else json.dumps(value)
                   for name, value in sorted(self.method_options.items())},
                "epochs": self.epochs, "batch_size": self.batch_size, "learning_rate": self.rate,
                "head_learning_rate": self.head_rate,
                "weight_decay": self.weight_decay, "warmup": self.warmup, "max_grad_norm": self.max_grad_norm,
                "schedule": self.schedule, "precision": self.precision,
                "max_length": self.length, "pack": self.pack, "learn_prompts": self.learn_prompts,
                "metric": self.metric, "patience": self.patience,
                "preset": self.preset, "upper_layers": self.upper_layers, "remember_lower": self.remember_lower,
                "frozen": self.frozen,
                "fractions": json.dumps(self.fractions),
                "is_validated": self.is_validated, "label_map": _as_json(self.label_map),
                "class_weights": self.class_weights if isinstance(self.class_weights, str | None)
                else _as_json(self.class_weights),
                "oversample": self.oversample, "remove_duplicates": self.remove_duplicates,
                "near_duplicates": self.near_duplicates}


def _as_json(values: Mapping[str, str] | Mapping[str, float]) -> str | None:
    """Return names with values as one text: a manifest holds plain values."""
    return json.dumps(dict(values), ensure_ascii=False, sort_keys=True) if values else None


def _require(name: str, value: float, *, low: float, high: float) -> None:
    if not low <= value <= high:
        raise InvalidConfig(f"{name} is {value}, expected {low} to {high}.", hint=f"Give --{name.replace('_', '-')}.")
