"""From a run's settings to PEFT's own configuration of its method, every option checked against PEFT's fields."""

import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_type_hints

import peft
from peft import PeftConfig
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation, PydanticUserError
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from adapterhub.adapter.peft_config import REFUSED_KNOBS
from adapterhub.errors import InvalidConfig, UnknownName
from adapterhub.tasks.task import Task
from adapterhub.training.config import ALL_LINEAR, TrainConfig
from adapterhub.training.method_table import Method, find_method
from adapterhub.training.quantized import require_quantization
from adapterhub.training.targets import inner_pattern, n_inputs, targeted_layers

_OURS = ("task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision",
         "inference_mode", "modules_to_save", "fan_in_fan_out", "total_step", "megatron_core", "runtime_config",
         "token_dim", "num_transformer_submodules", "num_attention_heads", "num_layers", "tokenizer_name_or_path")
"""PEFT's fields that follow from task, base and rows."""
_STARTS = re.compile(r"gaussian|orthogonal|olora|pissa(_niter_\d+)?")
"""Ways of LoRA to begin that need nothing but the weights."""
_NOT_SERVED = (*REFUSED_KNOBS, "velora_config")
_NEED_ROWS = ("eva_config", "corda_config", "lora_ga_config", "loftq_config")
_BLOCK = 32
"""OFT's largest block, PEFT's default."""
_WARM_UP, _FINAL, _UPDATES = 0.1, 0.5, 100
"""AdaLoRA's shares of the steps before ranks are taken away and after, and how often between.

Source: Zhang et al. 2023 (AdaLoRA), arXiv 2303.10512, table 8: about these shares for most of GLUE's tasks.
"""
_LEAST_STEPS = 3
"""One to weigh the ranks by, one to take some away, one after it."""


def require_options(config: TrainConfig, task: Task) -> None:
    """Check the method and its options before anything is read or loaded.

    Raises UnknownName for an option that PEFT's configuration does not have; InvalidConfig for one that is said
    elsewhere, has a wrong type, or gives what cannot be served, and for a method that is not for the task.
    """
    method = find_method(config.method)
    if method.is_for_writing and not task.writes:
        raise InvalidConfig(f"Method {config.method!r} is for tasks that write, this run is for {task.name}.",
                            hint="Give --method lora.")
    if method.is_for_writing and (config.target_names != (ALL_LINEAR,) or config.upper_layers or config.preset):
        raise InvalidConfig(f"Method {config.method!r} changes no layers, so it has no targets and no upper layers.",
                            hint="Leave them out.")
    checked_options(config, method)
    if config.method == "qlora":
        require_quantization()


def checked_options(config: TrainConfig, method: Method) -> dict[str, Any]:
    """Return the options of the configuration as PEFT takes them. Raises as `require_options`."""
    given = {name: value for name, value in config.method_options.items() if name not in method.extras}
    if given and not method.peft_class:
        raise InvalidConfig(f"Method {config.method!r} takes no options.", hint="Leave method_options out.")
    own = _own_settings(method)
    known = [field.name for field in fields(_class_of(method))] if method.peft_class else []
    for name in given:
        if name in _NOT_SERVED:
            raise InvalidConfig(f"method_options sets {name}, which the runtime does not serve.", hint="Leave it out.")
        if name in _NEED_ROWS:
            raise InvalidConfig(f"method_options sets {name}, which needs passes over the rows before training.",
                                hint="Leave it out.")
        if name in own:
            raise InvalidConfig(f"method_options sets {name}, which has a setting of its own.",
                                hint=f"Give {own[name]}.")
        if name in _OURS:
            raise InvalidConfig(f"method_options sets {name}, which follows from task, base and rows.",
                                hint="Leave it out.")
        if name not in known:
            raise UnknownName(f"option of {config.method}", name,
                              {*known, *method.extras} - {*own, *_OURS, *_NOT_SERVED, *_NEED_ROWS})
    options: dict[str, Any] = {name: _typed(name, value, method) for name, value in given.items()}
    if options.get("prefix_projection"):
        raise InvalidConfig("prefix_projection is true, of which PEFT writes only the end, so no run could go on.",
                            hint="Leave it out.")
    if options.get("bias") == "all":
        raise InvalidConfig("bias is 'all', which the runtime does not serve.",
                            hint="Give lora_only: the biases of the adapted layers.")
    _require_start(options | dict(method.fixed))
    return options


def extra_option(config: TrainConfig, name: str) -> float:
    """Return an option that PEFT's configuration does not have. Raises InvalidConfig for no positive number."""
    value = config.method_options.get(name, find_method(config.method).extras[name])
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InvalidConfig(f"method_options sets {name} to {value!r}, expected a number above 0.")
    return float(value)


def peft_config_of(config: TrainConfig, model: PreTrainedModel, task_type: str | None, targets: list[str],
                   head: list[str], n_steps: int) -> PeftConfig:
    """Build PEFT's configuration; `n_steps` are the run's, which AdaLoRA spreads its budget over.

    Raises InvalidConfig where PEFT refuses the options together; and as `require_options`.
    """
    method = find_method(config.method)
    options = checked_options(config, method)
    values: dict[str, Any] = {"task_type": task_type, **method.fixed}
    if not method.is_for_writing:
        values |= _of_layers(model, targets, head)
    if method.rank is not None:
        values[method.rank_field] = config.used_rank
    if method.alpha_field:
        values[method.alpha_field] = config.scaled_alpha
    if method.dropout_field:
        values[method.dropout_field] = config.used_dropout
    values |= _defaults(config, options, model, targets, n_steps)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what was asked for
            built: PeftConfig = _class_of(method)(**(values | options))
    except (ValueError, TypeError) as error:
        raise InvalidConfig(f"PEFT refuses the options of {config.method}: {_first_line(error)}.",
                            hint="See PEFT's documentation of the method.") from error
    return built


def _of_layers(model: PreTrainedModel, targets: list[str], head: list[str]) -> dict[str, Any]:
    layers = targeted_layers(model, targets).values()
    return {"target_modules": list(targets), "modules_to_save": list(head) or None,
            "fan_in_fan_out": all(isinstance(layer, Conv1D) for layer in layers)}


def moves_base(peft_config: PeftConfig) -> bool:
    """Say whether PEFT takes the start out of the frozen weights, as PiSSA and OLoRA do."""
    start = getattr(peft_config, "init_lora_weights", True)
    return isinstance(start, str) and start.startswith(("pissa", "olora"))


def _defaults(config: TrainConfig, options: Mapping[str, Any], model: PreTrainedModel, targets: list[str],
              n_steps: int) -> dict[str, Any]:
    """Return what a method needs besides, as it follows from the model and the run."""
    name = find_method(config.method).peft_class
    if name == "IA3Config":
        return {"feedforward_modules": inner_pattern(model, targets) or []}
    if name == "OFTConfig":
        common = math.gcd(*(n_inputs(layer) for layer in targeted_layers(model, targets).values()))
        block = max(size for size in range(1, _BLOCK + 1) if common % size == 0)
        return {"oft_block_size": 0 if options.get("r") else block}
    if name == "AdaLoraConfig":
        _require_budget(config, options, n_steps)
        return {"init_r": max(config.used_rank + 1, config.used_rank * 3 // 2), "total_step": n_steps,
                "tinit": int(_WARM_UP * n_steps), "tfinal": int(_FINAL * n_steps),
                "deltaT": max(1, n_steps // _UPDATES)}
    return {}


def _require_budget(config: TrainConfig, options: Mapping[str, Any], n_steps: int) -> None:
    if n_steps < _LEAST_STEPS:
        raise InvalidConfig(f"The run has {n_steps} steps, AdaLoRA spreads its ranks over {_LEAST_STEPS} or more.",
                            hint="Give more rows or --epochs, or a smaller --batch-size.")
    if options.get("init_r", math.inf) <= config.used_rank:
        raise InvalidConfig(f"init_r is {options['init_r']}, expected more than the rank, {config.used_rank}.",
                            hint="AdaLoRA begins with more ranks than it keeps.")


def _require_start(options: Mapping[str, Any]) -> None:
    start = options.get("init_lora_weights", True)
    if not isinstance(start, bool) and not (isinstance(start, str) and _STARTS.fullmatch(start)):
        raise InvalidConfig(f"init_lora_weights is {start!r}, expected gaussian, orthogonal, olora, pissa or "
                            "pissa_niter_N.", hint="The others need passes over the rows before training.")
    if isinstance(start, str) and start.startswith(("pissa", "olora")):
        for name in ("use_dora", "rank_pattern", "alpha_pattern", "lora_bias"):
            if options.get(name):
                raise InvalidConfig(f"init_lora_weights {start!r} and {name} cannot be made plain LoRA together.",
                                    hint="Leave one of them out.")


def _own_settings(method: Method) -> dict[str, str]:
    """Return the fields that a setting of ours says, with the option for it."""
    own = {"target_modules": "--targets"}
    own |= {method.rank_field: "--rank"} if method.rank is not None else {}
    own |= {method.alpha_field: "--alpha"} if method.alpha_field else {}
    own |= {method.dropout_field: "--dropout"} if method.dropout_field else {}
    if method.peft_class == "AdaLoraConfig":  # they would be there by inheritance, without a meaning
        own |= {"r": "--rank", "rank_pattern": "--rank", "alpha_pattern": "--alpha"}
    return own


def _typed(name: str, value: Any, method: Method) -> Any:
    """Return an option's value as its field's type. Raises InvalidConfig."""
    if name == "init_lora_weights":
        return value  # PEFT's type leaves `pissa_niter_N` out; `_require_start` knows better
    hints = get_type_hints(_class_of(method))
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(hints[name], config=ConfigDict(arbitrary_types_allowed=True))
    except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation, PydanticUserError):
        return value  # a type of PEFT's that only PEFT can check
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        wishes = dict.fromkeys(fault["msg"].removeprefix("Input should be ").lower() for fault in error.errors())
        raise InvalidConfig(f"method_options sets {name} to {value!r}, expected {' or '.join(wishes)}.",
                            hint="See PEFT's documentation of the method.") from error


def _class_of(method: Method) -> Any:
    return getattr(peft, method.peft_class)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".:")[:200] if lines else type(error).__name__
