"""The fast product equals its slow twin, and slots hold exactly what was put into them."""

import mmap

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adapterhub.runtime.slot_linear import LowRank, add_low_rank_, add_low_rank_reference
from adapterhub.runtime.slots import LayerShape, SlotPool, Slots, SlotShape

LAYERS = {"0.query": LayerShape(6, 4), "0.value": LayerShape(6, 5)}
CPU = torch.device("cpu")
sizes = st.integers(1, 7)


@settings(max_examples=60, deadline=None)
@given(n_adapters=sizes, n_each=sizes, n_tokens=sizes, n_in=sizes, n_out=sizes, rank=sizes, is_shared=st.booleans(),
       before=st.integers(0, 3), after=st.integers(0, 3), seed=st.integers(0, 2**31))
def test_fast_product_equals_its_reference(n_adapters: int, n_each: int, n_tokens: int, n_in: int, n_out: int,
                                           rank: int, is_shared: bool, before: int, after: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    lead = () if is_shared else (n_adapters,)
    stop = before + n_adapters * n_each
    product = LowRank(before, stop, torch.randn(*lead, rank, n_in, generator=generator),
                      torch.randn(*lead, n_out, rank, generator=generator))
    x = torch.randn(stop + after, n_tokens, n_in, generator=generator)
    y = torch.randn(stop + after, n_tokens, n_out, generator=generator)
    found, expected = y.clone(), y.clone()
    add_low_rank_(found, x, product)
    add_low_rank_reference(expected, x, product)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)  # float32, up to 7 x 7 products of unit scale
    assert torch.equal(found[:before], y[:before])
    assert torch.equal(found[stop:], y[stop:])


@pytest.mark.parametrize(("rank", "slab"), [(1, 4), (4, 4), (5, 8), (8, 8), (9, 16), (64, 64), (65, 128)])
def test_rank_is_rounded_up_to_a_power_of_two(rank: int, slab: int) -> None:
    assert SlotShape.of(LAYERS, rank).rank == slab


def pool_of(rank: int = 4, max_slots: int = 3) -> SlotPool:
    return SlotPool(SlotShape.of(LAYERS, rank), dtype=torch.float32, device=CPU, max_slots=max_slots)


def test_views_of_a_gathered_row_are_the_rows_own() -> None:
    pool = pool_of()
    for slot in (pool.take(), pool.take()):
        pool.row(slot).copy_(torch.arange(pool.shape.n_elements) + 1000.0 * slot)
    gathered = pool.gather([1, 0, 1])
    for layer in LAYERS:
        a, b = pool.views(gathered, layer)
        for i, slot in enumerate((1, 0, 1)):
            own_a, own_b = pool.views(pool.row(slot), layer)
            assert torch.equal(a[i], own_a)
            assert torch.equal(b[i], own_b)


def test_a_gathered_layer_is_that_layer_of_the_gathered_rows() -> None:
    pool = pool_of()
    for slot in (pool.take(), pool.take(), pool.take()):
        pool.row(slot).copy_(torch.arange(pool.shape.n_elements) + 1000.0 * slot)
    slots = [2, 0, 0, 1]
    rows = pool.gather(slots)
    for layer in LAYERS:
        for own, expected in zip(pool.gather_layer(torch.tensor(slots), layer), pool.views(rows, layer), strict=True):
            assert torch.equal(own, expected)


@given(moves=st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=30))
@settings(max_examples=40, deadline=None)
def test_taken_slots_are_never_shared_and_keep_their_content(moves: list[tuple[bool, int]]) -> None:
    pool, held = pool_of(max_slots=4), {}
    for is_take, number in moves:
        if is_take and len(held) < 4:
            slot = pool.take()
            assert slot not in held
            held[slot] = float(number)
            pool.row(slot).fill_(float(number))
        elif not is_take and held:
            slot = sorted(held)[number % len(held)]
            del held[slot]
            pool.give_back(slot, keeps_memory=number % 2 == 0)
        assert all(bool((pool.row(slot) == value).all()) for slot, value in held.items())


def test_memory_given_back_reads_as_zero() -> None:
    pool = pool_of()
    slot = pool.take()
    pool.row(slot).fill_(7.0)
    pool.give_back(slot, keeps_memory=False)
    assert not pool.row(slot).any()


def test_slot_takes_whole_pages() -> None:
    assert pool_of().slot_bytes % mmap.PAGESIZE == 0


def test_one_slab_serves_all_adapters_of_one_shape() -> None:
    slots = Slots(dtype=torch.float32, device=CPU, budget_bytes=1 << 20)
    assert slots.pool_of(SlotShape.of(LAYERS, 3)) is slots.pool_of(SlotShape.of(LAYERS, 4))
    assert slots.pool_of(SlotShape.of(LAYERS, 5)) is not slots.pool_of(SlotShape.of(LAYERS, 4))


def test_slab_never_holds_more_slots_than_the_budget_pays() -> None:
    shape = SlotShape.of(LAYERS, 4)
    slots = Slots(dtype=torch.float32, device=CPU, budget_bytes=5 * mmap.PAGESIZE + 1)
    assert slots.pool_of(shape).max_slots == 5
