"""Which linear layers a method changes: by name, by a pattern, or all of the repeated layers."""

import re

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from adapterhub.errors import InvalidConfig
from adapterhub.training.config import ALL_LINEAR, PATTERN, TrainConfig

LINEAR = (nn.Linear, Conv1D)
"""What is a linear layer; GPT-2's Conv1D holds its weight as [I, O]."""


def targets_of(config: TrainConfig, model: PreTrainedModel) -> list[str]:
    """Return the targets as PEFT finds them: names, or ends of names behind a dot.

    Raises InvalidConfig where a name or the pattern finds no linear layer, or where the pattern is none.
    """
    if config.target_names == (ALL_LINEAR,):
        return encoder_targets(model)
    if config.target_names[0].startswith(PATTERN):
        return _matching(config.target_names[0].removeprefix(PATTERN), model)
    targets = list(config.target_names)
    for target in targets:
        if not any(_is_named(name, target) for name in linear_layers(model)):
            raise _none_found(f"is named {target!r}", model)
    return targets


def encoder_targets(model: PreTrainedModel) -> list[str]:
    """Name the linear layers inside the repeated layers, by what follows the layer's number."""
    return sorted({end for name in linear_layers(model.base_model) if (end := _behind_number(name))})


def targeted_layers(model: PreTrainedModel, targets: list[str]) -> dict[str, nn.Linear | Conv1D]:
    """Return the layers that targets find, by their full names."""
    return {name: module for name, module in linear_layers(model).items()
            if any(_is_named(name, target) for target in targets)}


def linear_layers(model: nn.Module) -> dict[str, nn.Linear | Conv1D]:
    """Return every linear layer by its full name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LINEAR)}


def inner_pattern(model: PreTrainedModel, targets: list[str]) -> str:
    """Return a pattern for the targets that lead back from a layer's inner, wide activations: the MLP's second layer.

    Names are matched whole: BERT's `output.dense` would find `attention.output.dense` as well.
    """
    inner = (name for name, module in targeted_layers(model, targets).items() if n_inputs(module) > _n_outputs(module))
    patterns = {re.sub(r"(?<=\\\.)\d+(?=\\\.)", r"\\d+", re.escape(name)) for name in inner}
    return "|".join(sorted(patterns))


def _matching(pattern: str, model: PreTrainedModel) -> list[str]:
    """Return the full names of the layers that a pattern matches, as PEFT matches it: whole names."""
    try:
        found = [name for name in linear_layers(model) if re.fullmatch(pattern, name)]
    except (re.error, RecursionError, OverflowError) as error:
        raise InvalidConfig(f"targets: {pattern!r} is no regular expression ({error}).",
                            hint=r"Write for instance re:.*layer\.[01]\..*(query|value).") from error
    if not found:
        raise _none_found(f"matches {pattern!r} as a whole", model)
    return found


def _none_found(what: str, model: PreTrainedModel) -> InvalidConfig:
    names = list(linear_layers(model))
    return InvalidConfig(f"No linear layer of the base {what}.",
                         hint=f"It has {', '.join(sorted({name.rpartition('.')[2] for name in names}))}; "
                              f"a whole name is {names[0]}.")


def _behind_number(name: str) -> str:
    parts = name.split(".")
    numbers = [i for i, part in enumerate(parts) if part.isdecimal()]
    return ".".join(parts[numbers[-1] + 1:]) if numbers else ""


def _is_named(name: str, target: str) -> bool:
    return name == target or name.endswith("." + target)


def n_inputs(module: nn.Linear | Conv1D) -> int:
    """Return what a layer reads, I."""
    return module.in_features if isinstance(module, nn.Linear) else module.nx


def _n_outputs(module: nn.Linear | Conv1D) -> int:
    return module.out_features if isinstance(module, nn.Linear) else module.nf
