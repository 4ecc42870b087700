"""The fast delta equals its slow twin, and slots hold exactly what was put into them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adapterhub.adapter.check import AdapterTensors
from adapterhub.adapter.peft_config import PeftConfig
from adapterhub.runtime.slot_linear import BatchDeltas, add_delta_, add_delta_reference, inject
from adapterhub.runtime.slots import LayerDelta, LayerShape, Slots

LAYERS = {"0.query": LayerShape(6, 4), "0.value": LayerShape(6, 5)}
sizes = st.integers(1, 7)


@settings(max_examples=60, deadline=None)
@given(n_rows=sizes, n_tokens=sizes, n_in=sizes, n_out=sizes, rank=sizes, is_shared=st.booleans(),
       seed=st.integers(0, 2**31))
def test_fast_delta_equals_its_reference(n_rows: int, n_tokens: int, n_in: int, n_out: int, rank: int,
                                         is_shared: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    lead = () if is_shared else (n_rows,)
    delta = LayerDelta(torch.randn(*lead, rank, n_in, generator=generator),
                       torch.randn(*lead, n_out, rank, generator=generator))
    x = torch.randn(n_rows, n_tokens, n_in, generator=generator)
    y = torch.randn(n_rows, n_tokens, n_out, generator=generator)
    expected = add_delta_reference(y.clone(), x, delta)
    found = add_delta_(y, x, delta)
    assert found is y
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)  # float32, up to 7 x 7 products of unit scale


def tensors_of(seed: int, rank: int, layers: tuple[str, ...] = tuple(LAYERS)) -> AdapterTensors:
    generator = torch.Generator().manual_seed(seed)
    return AdapterTensors(
        delta_a={name: torch.randn(rank, LAYERS[name].in_features, generator=generator).numpy() for name in layers},
        delta_b={name: torch.randn(LAYERS[name].out_features, rank, generator=generator).numpy() for name in layers},
        head={})


def put(slots: Slots, slot: int, tensors: AdapterTensors, rank: int) -> None:
    config = PeftConfig(peft_type="LORA", r=rank, lora_alpha=3.0 * rank, target_modules=["query", "value"])
    slots.put(slot, tensors, config, {name: name for name in tensors.delta_a})


def product(slots: Slots, slot: int, layer: str) -> torch.Tensor:
    """Return B A of a slot in a layer, zero where nothing is added."""
    delta = slots.gather([slot]).get(layer)
    shape = LAYERS[layer]
    return torch.zeros(shape.out_features, shape.in_features) if delta is None else delta.b @ delta.a


def expected(tensors: AdapterTensors, layer: str) -> torch.Tensor:
    if layer not in tensors.delta_a:
        return torch.zeros(LAYERS[layer].out_features, LAYERS[layer].in_features)
    return 3.0 * torch.from_numpy(tensors.delta_b[layer]) @ torch.from_numpy(tensors.delta_a[layer])


moves = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 4), st.sampled_from([*((n,) for n in LAYERS),
                                                                                  tuple(LAYERS), None])), max_size=12)


@settings(max_examples=40, deadline=None)
@given(steps=moves)
def test_slots_hold_exactly_what_was_put_last(steps: list[tuple[int, int, tuple[str, ...] | None]]) -> None:
    slots, held = Slots(LAYERS, max_slots=5), dict[int, AdapterTensors]()
    for seed, (slot, rank, layers) in enumerate(steps):
        if layers is None:
            if slot in held:
                slots.clear(slot)
                del held[slot]
        else:
            held[slot] = tensors_of(seed, rank, layers)
            put(slots, slot, held[slot], rank)
    for slot, tensors in held.items():
        for layer in LAYERS:
            torch.testing.assert_close(product(slots, slot, layer), expected(tensors, layer), rtol=1e-5, atol=1e-5)
    assert not slots._slab[0].any()


def test_gathered_batch_gives_each_row_its_own() -> None:
    slots = Slots(LAYERS, max_slots=4)
    first, second = tensors_of(1, 2), tensors_of(2, 3, ("0.query",))
    put(slots, 1, first, 2)
    put(slots, 3, second, 3)
    gathered = slots.gather([3, 0, 1])
    for layer in LAYERS:
        products = gathered[layer].b @ gathered[layer].a
        wanted = [expected(second, layer), torch.zeros_like(products[1]), expected(first, layer)]
        torch.testing.assert_close(products, torch.stack(wanted), rtol=1e-5, atol=1e-5)


def test_rows_without_adapter_cost_no_layer_anything() -> None:
    slots = Slots(LAYERS, max_slots=2)
    put(slots, 1, tensors_of(1, 2), 2)
    assert slots.gather([0, 0]) == {}


def test_layer_that_no_row_changes_is_left_out() -> None:
    slots = Slots(LAYERS, max_slots=2)
    put(slots, 1, tensors_of(1, 2, ("0.value",)), 2)
    assert set(slots.gather([1, 0])) == {"0.value"}


def test_slots_grow_no_further_than_they_may() -> None:
    slots = Slots(LAYERS, max_slots=3)
    for slot in (1, 2, 3):
        put(slots, slot, tensors_of(slot, 1), 1)
    assert slots.n_slots == 4


@pytest.mark.parametrize("is_set", [True, False])
def test_injected_layer_adds_only_what_is_set(is_set: bool) -> None:
    trunk = torch.nn.Sequential(torch.nn.Linear(3, 2))
    deltas = BatchDeltas()
    x = torch.ones(1, 1, 3)
    plain = trunk(x)
    inject(trunk, ["0"], deltas)
    deltas.of_layer = {"0": LayerDelta(torch.ones(1, 3), torch.ones(2, 1))} if is_set else {}
    with torch.no_grad():
        torch.testing.assert_close(trunk(x), plain + (3.0 if is_set else 0.0))
