"""Token sequences to padded tensors, in batches of like length. It knows no task and no model."""

from collections.abc import Iterator, Sequence

import torch

from adapterhub.tasks.task import IGNORED, TokenSequence


def collate(sequences: Sequence[TokenSequence], pad_id: int) -> dict[str, torch.Tensor]:
    """Pad sequences on the right: input_ids, token_type_ids, attention_mask, each [B, T] int64.

    Where sequences have labels, also labels [B, T], or [B, U]; where texts lie packed in them, position_ids [B, T]
    instead of the mask: by where these begin anew, models know whose token is whose.
    """
    longest = max(len(sequence.input_ids) for sequence in sequences)
    batch = {
        "input_ids": torch.full((len(sequences), longest), pad_id),
        "token_type_ids": torch.zeros((len(sequences), longest), dtype=torch.long),
        "attention_mask": torch.zeros((len(sequences), longest), dtype=torch.long),
    }
    for i, sequence in enumerate(sequences):
        length = len(sequence.input_ids)
        batch["input_ids"][i, :length] = torch.tensor(sequence.input_ids)
        batch["token_type_ids"][i, :length] = torch.tensor(sequence.token_type_ids)
        batch["attention_mask"][i, :length] = 1
    if any(sequence.labels for sequence in sequences):
        batch["labels"] = _padded([sequence.labels for sequence in sequences], IGNORED)
    if any(sequence.position_ids for sequence in sequences):
        del batch["attention_mask"]
        batch["position_ids"] = torch.stack([_positions(sequence, longest) for sequence in sequences])
        for row, sequence in zip(batch["input_ids"], sequences, strict=True):
            row[len(sequence.input_ids):] = sequence.input_ids[0]  # of padding without a mask transformers warns
    return batch


def by_length(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Yield batches of indices, shortest first, so that little is padded."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for start in range(0, len(order), batch_size):
        yield order[start:start + batch_size]


def _padded(rows: Sequence[list[int]], filler: int) -> torch.Tensor:
    padded = torch.full((len(rows), max(map(len, rows))), filler)
    for i, row in enumerate(rows):
        padded[i, :len(row)] = torch.tensor(row, dtype=torch.long)
    return padded


def _positions(sequence: TokenSequence, longest: int) -> torch.Tensor:
    """Return a packed sequence's positions [T]; what is padded counts as one more text."""
    own = sequence.position_ids or list(range(len(sequence.input_ids)))
    return torch.tensor([*own, *range(longest - len(own))])


class LengthBuckets:
    """A seeded batch sampler: shuffled pools of 20 batches, sorted by length inside.

    Each pass reshuffles; the last batch may be smaller. Source: peft method_comparison, bucket of 20 batches.
    """

    pool_batches = 20

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size = lengths, batch_size
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.randperm(len(self.lengths), generator=self.generator).tolist()
        size = self.batch_size * self.pool_batches
        batches: list[list[int]] = []
        for start in range(0, len(order), size):
            pool = sorted(order[start:start + size], key=self.lengths.__getitem__)
            batches += [pool[i:i + self.batch_size] for i in range(0, len(pool), self.batch_size)]
        for i in torch.randperm(len(batches), generator=self.generator).tolist():
            yield batches[i]
