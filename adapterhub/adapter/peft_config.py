"""PEFT's `adapter_config.json`, as far as serving needs it: rank, scaling, targets, and what is refused."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import regex
from pydantic import ConfigDict, TypeAdapter, ValidationError

from adapterhub.errors import InvalidFolder

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
PREFIX = "base_model.model."
"""What PEFT writes before each tensor's name."""

LORA, IA3 = "LORA", "IA3"
METHOD_NAMES = {LORA: "LoRA", IA3: "IA3"}
"""PEFT's types that are served, with the names that people write."""
OTHER_NAMES = {"ADALORA": "AdaLoRA", "VERA": "VeRA", "OFT": "OFT", "PROMPT_TUNING": "prompt tuning",
               "PREFIX_TUNING": "prefix tuning"}
"""Types that are trained, checked and published, and that the runtime does not serve."""

# Knobs that change what the adapter computes and that this runtime does not compute: refused by name, never ignored.
REFUSED_KNOBS = ("trainable_token_indices", "target_parameters", "layer_replication", "alora_invocation_tokens",
                  "use_qalora", "use_bdlora", "arrow_config", "kasa_config", "monteclora_config", "megatron_config",
                  "layers_pattern")
_MOVING_STARTS = ("pissa", "olora")
"""Initialisations that change the frozen weight, by a decomposition of it that comes out the same each time."""
_PLAIN_STARTS = ("gaussian", "eva", "orthogonal", "mica")
"""Initialisations that leave the frozen weight as it is; what they began with does not matter any more."""
_MATCH_TIMEOUT_S = 0.2
"""A pattern of PEFT's takes microseconds; one that repeats a repetition may take years."""
_NO_WEIGHTS = ("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "CPT", "CARTRIDGE",
               "ADAPTION_PROMPT", "LN_TUNING", "TRAINABLE_TOKENS", "POLY", "XLORA")
"""PEFT's types that change no weights of layers, so that LoRA cannot be made of them."""
_LAYER_NUMBER = regex.compile(r".*\.[^.]*\.(\d+)\.")


_FIELDS_OF_ALL = ("peft_type", "task_type", "r", "bias", "target_modules", "exclude_modules", "layers_to_transform",
                  "modules_to_save")
"""Fields that mean the same in a configuration of any type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeftConfig:
    """The fields of one LoRA or IA3 configuration that decide its output; of other types those that a check needs."""

    __pydantic_config__ = ConfigDict(extra="ignore")

    peft_type: str
    task_type: str | None = None
    r: int = 0
    """LoRA's or VeRA's rank, the one that AdaLoRA aims at; 0 for types that have none."""
    lora_alpha: float = 1.0
    use_rslora: bool = False
    use_dora: bool = False
    lora_bias: bool = False
    bias: str = "none"
    init_lora_weights: bool | str = True
    target_modules: list[str] | str = field(default_factory=list)
    exclude_modules: list[str] | str | None = None
    layers_to_transform: list[int] | int | None = None
    feedforward_modules: list[str] | str = field(default_factory=list)
    """IA3: the targets whose input is scaled instead of their output."""
    modules_to_save: list[str] | None = None
    rank_pattern: dict[str, int] = field(default_factory=dict)
    alpha_pattern: dict[str, float] = field(default_factory=dict)

    @property
    def moves_base(self) -> bool:
        """Whether PEFT takes the initial product out of the frozen weight when it loads the adapter."""
        return self.init_lora_weights in _MOVING_STARTS

    @property
    def is_served(self) -> bool:
        """Whether the runtime computes what this type computes."""
        return self.peft_type in METHOD_NAMES

    @property
    def is_prompt(self) -> bool:
        """Whether the method puts tokens of its own in front, and changes no module."""
        return self.peft_type in ("PROMPT_TUNING", "PREFIX_TUNING")

    @property
    def is_ia3(self) -> bool:
        """Whether the method scales activations and has no A and B."""
        return self.peft_type == IA3

    def rank_of(self, module: str) -> int:
        """Return the rank at one module's full name."""
        return int(_by_pattern(self.rank_pattern, module, self.r))

    def scaling_of(self, module: str) -> float:
        """Return what multiplies B A x: alpha / r, or alpha / sqrt(r) with rsLoRA.

        Source: Hu et al. 2021 §4.1; Kalajdzievski 2023 (rsLoRA), arXiv 2312.03732 §3.
        """
        rank, alpha = self.rank_of(module), _by_pattern(self.alpha_pattern, module, self.lora_alpha)
        return alpha / math.sqrt(rank) if self.use_rslora else alpha / rank

    def has_target(self, module: str) -> bool:
        """Say whether PEFT would adapt the module of this full name.

        Source: peft 0.21.2 tuners/tuners_utils.py check_target_module_exists.
        """
        if self.exclude_modules and _is_among(module, self.exclude_modules):
            return False
        if not _is_among(module, self.target_modules):
            return False
        if self.layers_to_transform is None or self.layers_to_transform == []:
            return True
        chosen = self.layers_to_transform if isinstance(self.layers_to_transform, list) else [self.layers_to_transform]
        number = _LAYER_NUMBER.match(module)
        return number is not None and int(number.group(1)) in chosen

    def is_feedforward(self, module: str) -> bool:
        """Say whether IA3 scales this module's input instead of its output."""
        return bool(self.feedforward_modules) and _is_among(module, self.feedforward_modules)


_ADAPTER: TypeAdapter[PeftConfig] = TypeAdapter(PeftConfig)


def parse_peft_config(data: bytes, folder: Path) -> PeftConfig:
    """Parse `adapter_config.json`. Raises InvalidFolder with the field, or the knob or type that is not known."""
    try:
        raw = json.loads(data)
        config = _ADAPTER.validate_python(_known_fields(raw))
    except (ValidationError, ValueError, RecursionError) as error:
        raise InvalidFolder(str(folder), [f"{CONFIG_FILE} cannot be read ({_first_line(error)})"]) from error
    if not isinstance(raw, dict):
        raise InvalidFolder(str(folder), [f"{CONFIG_FILE} is no JSON object"])
    faults = [f"{CONFIG_FILE} sets {knob}, which adapterhub does not serve" for knob in REFUSED_KNOBS if raw.get(knob)]
    if config.peft_type not in (*METHOD_NAMES, *OTHER_NAMES):
        faults.append(f"method {config.peft_type} is not served, expected {' or '.join(METHOD_NAMES)}")
    if config.bias not in ("none", "lora_only", "all"):
        faults.append(f"{CONFIG_FILE} has bias {config.bias!r}, expected none, lora_only or all")
    start = config.init_lora_weights
    if isinstance(start, str) and start not in (*_MOVING_STARTS, *_PLAIN_STARTS):
        faults.append(f"{CONFIG_FILE} has init_lora_weights {start!r}: its change of the base cannot "
                      "be found again; save it with PEFT's path_initial_model_for_weight_conversion")
    if config.peft_type == LORA and config.r < 1:
        faults.append(f"{CONFIG_FILE} has rank {config.r}, expected at least 1")
    if not config.target_modules and not config.is_prompt:
        faults.append(f"{CONFIG_FILE} names no target module")
    faults += [f"{CONFIG_FILE} has rank {rank} for {pattern!r}, expected at least 1"
               for pattern, rank in config.rank_pattern.items() if rank < 1]
    faults += [f"{CONFIG_FILE} has lora_alpha {alpha}, expected a finite number"
               for alpha in (config.lora_alpha, *config.alpha_pattern.values()) if not math.isfinite(alpha)]
    faults += [f"{CONFIG_FILE}: {pattern!r} is no regular expression"
               for pattern in _patterns(config) if not _is_pattern(pattern)]
    if faults:
        raise InvalidFolder(str(folder), faults, hint=_hint(config, folder))
    return config


def require_served(config: PeftConfig, folder: Path) -> None:
    """Raise InvalidFolder where the runtime does not compute what this method computes, with the way out."""
    if not config.is_served:
        fault = f"method {config.peft_type} is not served, expected {' or '.join(METHOD_NAMES)}"
        raise InvalidFolder(str(folder), [fault], hint=_hint(config, folder))


def _known_fields(raw: Any) -> Any:
    """Leave out fields that another type uses by the same name for something else."""
    if not isinstance(raw, dict) or raw.get("peft_type") not in list(OTHER_NAMES):  # which may be unhashable
        return raw
    known = {name: raw[name] for name in _FIELDS_OF_ALL if raw.get(name) is not None}
    return known | ({"r": raw["target_r"]} if "target_r" in raw else {})


def _hint(config: PeftConfig, folder: Path) -> str:
    if config.peft_type in METHOD_NAMES or config.peft_type in _NO_WEIGHTS:
        return "Train it with LoRA or IA3."
    is_reference = "@" in folder.name  # how a version in a bucket is shown
    shown = folder if folder.is_absolute() or is_reference else f"./{folder}"
    return f"Make plain LoRA of it: adapterhub convert {shown} --rank 16 --output {folder}-lora"


def _patterns(config: PeftConfig) -> list[str]:
    named = (config.target_modules, config.exclude_modules, config.feedforward_modules)
    return [*(pattern for pattern in named if isinstance(pattern, str)), *config.rank_pattern, *config.alpha_pattern]


def _is_among(module: str, targets: list[str] | str) -> bool:
    if isinstance(targets, str):
        return _match(targets, module) is not None
    return any(module == target or module.endswith("." + target) for target in targets)


def _is_pattern(text: str) -> bool:
    try:
        regex.compile(text)
    except (regex.error, RecursionError, OverflowError, ValueError):
        return False
    return True


def _match(pattern: str, module: str) -> object:
    """Match a whole name in bounded time. Raises InvalidFolder where the pattern is made to take for ever."""
    try:
        return regex.fullmatch(pattern, module, timeout=_MATCH_TIMEOUT_S)
    except TimeoutError as error:
        raise InvalidFolder(CONFIG_FILE, [f"the pattern {pattern[:80]!r} takes too long to match {module}"],
                            hint="List the target modules by their names.") from error


def _by_pattern(patterns: dict[str, Any], module: str, default: float) -> float:
    """Find a module's own value as PEFT does. Source: peft 0.21.2 utils/other.py get_pattern_key."""
    for pattern, value in patterns.items():
        if _match(rf"(.*\.)?({pattern})", module):
            return float(value)
    return default


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        fault = error.errors()[0]
        return f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg'].lower()}"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
