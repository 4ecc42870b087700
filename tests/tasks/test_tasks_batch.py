"""Sequences become padded batches; every row comes once, and a seed gives one order."""

from collections import Counter

import torch

from adapterhub.tasks.batch import LengthBuckets, by_length, collate
from adapterhub.tasks.task import TokenSequence

LENGTHS = [(7 * i) % 23 + 1 for i in range(203)]


def sequence(*ids: int, kind: int = 0) -> TokenSequence:
    return TokenSequence(input_ids=list(ids), token_type_ids=[kind] * len(ids))


def test_collate_pads_on_the_right_and_masks_what_it_padded() -> None:
    batch = collate([sequence(5, 6, 7), sequence(8, kind=1)], pad_id=9)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 9, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["token_type_ids"].tolist() == [[0, 0, 0], [1, 0, 0]]
    assert all(value.dtype == torch.int64 for value in batch.values())


def test_batches_by_length_hold_every_row_once_shortest_first() -> None:
    batches = list(by_length(LENGTHS, 16))
    flat = [i for batch in batches for i in batch]
    assert sorted(flat) == list(range(len(LENGTHS)))
    assert [LENGTHS[i] for i in flat] == sorted(LENGTHS)


def test_each_pass_over_the_buckets_holds_every_row_once() -> None:
    buckets = LengthBuckets(LENGTHS, 8, seed=3)
    for _ in range(3):
        batches = list(buckets)
        assert len(batches) == len(buckets)
        assert Counter(i for batch in batches for i in batch) == Counter(range(len(LENGTHS)))


def test_passes_differ_and_a_seed_repeats_them() -> None:
    first, second = LengthBuckets(LENGTHS, 8, seed=3), LengthBuckets(LENGTHS, 8, seed=3)
    passes = [list(first), list(first)]
    assert passes[0] != passes[1]
    assert passes == [list(second), list(second)]
    assert passes[0] != list(LengthBuckets(LENGTHS, 8, seed=4))


def test_buckets_pad_less_than_a_plain_shuffle() -> None:
    def padded(batches: list[list[int]]) -> int:
        return sum(max(LENGTHS[i] for i in batch) * len(batch) for batch in batches) - sum(LENGTHS)

    shuffled = torch.randperm(len(LENGTHS), generator=torch.Generator().manual_seed(3)).tolist()
    plain = [shuffled[i:i + 8] for i in range(0, len(LENGTHS), 8)]
    assert padded(list(LengthBuckets(LENGTHS, 8, seed=3))) < 0.3 * padded(plain)
