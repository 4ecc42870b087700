"""Presets: settings that go together, and which parts of a base a run leaves alone."""

from dataclasses import replace

from torch import nn
from transformers import PreTrainedModel

from adapterhub.errors import InvalidConfig
from adapterhub.tasks.table import find_task
from adapterhub.training.config import TrainConfig

LEAN_RANK, LEAN_RATE, LEAN_PASSES = 16, 3e-3, 2


def with_preset(config: TrainConfig, n_layers: int) -> TrainConfig:
    """Return the settings with those that the preset stands for; what was given beside it stays.

    `lean` adapts the upper half of a base's layers, remembers what the lower half gives (`training/remembered.py`), and
    computes each step's gradient in two passes, unless the task needs a batch whole.
    """
    if config.preset != "lean":
        return config
    least = LEAN_PASSES if find_task(config.task).can_split(()) else 1
    rate = config.learning_rate if config.learning_rate is not None or config.method != "lora" else LEAN_RATE
    return replace(config, remember_lower=True, upper_layers=config.upper_layers or max(1, n_layers // 2),
                   accumulation=max(least, config.accumulation), learning_rate=rate,
                   rank=config.rank if config.rank is not None else LEAN_RANK)


def in_upper_layers(model: PreTrainedModel, targets: list[str], n_upper: int) -> list[str]:
    """Return targets by their names in each of the uppermost layers. Raises InvalidConfig where there are fewer."""
    n_layers = int(model.config.num_hidden_layers)
    if n_upper > n_layers:
        raise InvalidConfig(f"upper_layers is {n_upper}, the base has {n_layers} layers.",
                            hint=f"Give --upper-layers 1 to {n_layers}.")
    names = []
    for name, _ in model.named_modules():
        numbers = [int(part) for part in name.split(".") if part.isdecimal()]
        is_upper = bool(numbers) and numbers[-1] >= n_layers - n_upper
        if is_upper and any(name.endswith("." + target) for target in targets):
            names.append(name.removeprefix(f"{model.base_model_prefix}."))
    return names


def freeze(model: PreTrainedModel, what: str, head_modules: list[str]) -> None:
    """Freeze the embeddings of a whole model, or everything but its head, in place; nothing where `what` is empty."""
    if what == "embeddings":
        embeddings: nn.Module = getattr(model.base_model, "embeddings", None) or model.get_input_embeddings()
        embeddings.requires_grad_(requires_grad=False)
    elif what == "trunk":
        model.requires_grad_(requires_grad=False)
        for name in head_modules:
            for path, module in model.named_modules():
                if path == name or path.endswith("." + name):
                    module.requires_grad_(requires_grad=True)
