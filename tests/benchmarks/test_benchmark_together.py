"""Several adapters in one pass get the gradients that each gets in a pass of its own."""

import pytest
import torch
from torch import nn

from benchmarks.adapters_made import embedded_base
from benchmarks.together_contender import (
    IN_TURN,
    MIXED,
    STACKED,
    InPeft,
    InStacks,
    Setting,
    StackedLinear,
    drawn_batches,
    take_step,
    trained,
)

N, N_LAYERS = 3, 36
BATCHES = drawn_batches(Setting(way=MIXED, n_adapters=N, n_rows=2, length=12, n_steps=1, seed=0), 20_000, 0)


@pytest.fixture(autouse=True)
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.together_contender.has_native_bfloat16", lambda: False)


@pytest.fixture(scope="module")
def in_peft() -> InPeft:
    made = InPeft(embedded_base(), N, seed=1)
    random = torch.Generator().manual_seed(2)
    for name, value in made.named_parameters():
        if "lora_B" in name:  # PEFT's zeros would let no gradient reach A
            value.data = 0.02 * torch.randn(value.shape, generator=random)
    return made


def gradients(model: InPeft | InStacks, way: str) -> dict[str, torch.Tensor]:
    kept: dict[str, torch.Tensor] = {}

    class Keeps(torch.optim.SGD):
        def step(self, closure: object = None) -> None:  # type: ignore[override]  # a test's
            kept.update({name: value.grad.clone() for name, value in model.named_parameters()
                         if value.grad is not None})

    if isinstance(model, InPeft):
        model.trunk.base_model.set_adapter([str(number) for number in range(N)])
    take_step(model, Keeps(trained(model), lr=1.0), BATCHES, way)
    return kept


def stacked_from(in_peft: InPeft) -> InStacks:
    """Return stacks with the values that PEFT's layers have."""
    made = InStacks(embedded_base(), N, seed=1)
    layers = dict(in_peft.trunk.base_model.model.named_modules())
    for path, module in made.trunk.named_modules():
        if isinstance(module, StackedLinear):
            theirs = layers[path]
            module.A.data = torch.stack([theirs.lora_A[str(k)].weight.data.T for k in range(N)])
            module.B.data = torch.stack([theirs.lora_B[str(k)].weight.data.T for k in range(N)])
    made.heads.load_state_dict(in_peft.heads.state_dict())
    return made


def test_mixed_batch_gives_each_adapter_its_own_gradient(in_peft: InPeft) -> None:
    mixed, in_turn = gradients(in_peft, MIXED), gradients(in_peft, IN_TURN)
    assert mixed.keys() == in_turn.keys()
    assert len(mixed) == N * (2 * N_LAYERS + 2), "A and B of each layer, and a head"
    for name, gradient in in_turn.items():
        torch.testing.assert_close(mixed[name], gradient, rtol=1e-4, atol=1e-6, msg=name)
        assert gradient.abs().max() > 0, name


def test_stacked_matrices_get_the_same_gradients(in_peft: InPeft) -> None:
    stacked = gradients(stacked_from(in_peft), STACKED)
    in_turn = gradients(in_peft, IN_TURN)
    n_compared = 0
    for name, gradient in stacked.items():
        parts = name.removeprefix("trunk.").rpartition(".")
        for number in range(N if parts[2] in "AB" else 0):
            theirs = in_turn[f"trunk.base_model.model.{parts[0]}.lora_{parts[2]}.{number}.weight"]
            torch.testing.assert_close(gradient[number].T, theirs, rtol=1e-4, atol=1e-6, msg=name)
            n_compared += 1
    assert n_compared == 2 * N * N_LAYERS


def test_stacked_layer_gives_each_adapters_rows_its_own_delta() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(6, 4)
    layer = StackedLinear(linear, 2)
    nn.init.normal_(layer.B)
    x = torch.randn(4, 3, 6)
    for rows, number in ((slice(0, 2), 0), (slice(2, 4), 1)):
        expected = linear(x[rows]) + 2.0 * x[rows] @ layer.A[number] @ layer.B[number]
        torch.testing.assert_close(layer(x)[rows], expected)
