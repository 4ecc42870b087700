"""The optimiser's groups: what learns at which rate."""

from collections.abc import Callable

import pytest
import torch

from adapterhub.bases.load import load_base
from adapterhub.settings import Settings
from adapterhub.tasks.table import find_task
from adapterhub.training.config import StepPlan, TrainConfig
from adapterhub.training.methods import build_model
from adapterhub.training.optimizer import build_optimizer, build_schedule


@pytest.mark.parametrize(("task", "head"), [("token-classification", {"classifier"}),
                                            ("text-classification", {"classifier", "pooler"})])
@pytest.mark.parametrize("method", ["lora", "dora", "full"])
def test_head_learns_at_its_own_rate_and_the_schedule_bends_both(
        task: str, head: set[str], method: str, tiny_config: Callable[..., TrainConfig],
        tiny_settings: Settings) -> None:
    config = tiny_config(task=task, method=method, rank=None if method == "full" else 2, learning_rate=1e-3,
                         head_learning_rate=5e-3, warmup=0.5)
    trained = build_model(config, load_base(config.base, cache=tiny_settings.cache), find_task(task), ["O", "B-PER"])
    optimizer = build_optimizer(config, trained)
    names = {id(value): name for name, value in trained.model.named_parameters()}
    rates = {names[id(value)]: group["lr"] for group in optimizer.param_groups for value in group["params"]}
    assert rates.keys() == {name for name, value in trained.model.named_parameters() if value.requires_grad}
    assert {name for name, rate in rates.items() if rate == 5e-3} == {
        name for name in rates if head & set(name.split("."))}
    assert set(rates.values()) == {1e-3, 5e-3}
    schedule = build_schedule(config, optimizer, StepPlan(n_rows=40, n_epochs=1, batch_size=4))
    assert schedule.get_last_lr() == [0.0, 0.0]
    for _ in range(5):
        optimizer.step()
        schedule.step()
    assert schedule.get_last_lr() == [1e-3, 5e-3]


def test_one_rate_is_one_group(tiny_config: Callable[..., TrainConfig], tiny_settings: Settings) -> None:
    config = tiny_config(learning_rate=1e-3)
    trained = build_model(config, load_base(config.base, cache=tiny_settings.cache), find_task(config.task), ["a", "b"])
    optimizer = build_optimizer(config, trained)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert len(optimizer.param_groups) == 1
