"""One base in memory with slots in its layers: loads adapters, and computes rows of many of them in one pass.

It knows no registry and no references. Not thread-safe.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from adapterhub.bases.load import Base
from adapterhub.runtime.heads import Heads
from adapterhub.runtime.loaded import LoadedAdapter, LoadedAdapters
from adapterhub.runtime.slot_linear import BatchDeltas, encoder_linears, inject
from adapterhub.runtime.slots import Slots
from adapterhub.tasks.batch import collate
from adapterhub.tasks.task import Example, TokenSequence

TOKENS_PER_PASS = 16384
"""Padded tokens of one pass; a larger batch takes several, sorted by length."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """One sequence of the batch and whose it is."""

    row: int
    part: int
    sequence: TokenSequence
    adapter: LoadedAdapter


class SharedBase:
    """The frozen base, its slots, and the adapters in them."""

    def __init__(self, base: Base, *, max_slots: int) -> None:
        self.base = base
        self._trunk = base.load_trunk()
        self._deltas = BatchDeltas()
        self.slots = Slots(inject(self._trunk, encoder_linears(self._trunk), self._deltas), max_slots=max_slots)
        self._heads = Heads(base, self._trunk)
        self.adapters = LoadedAdapters(base, self.slots, self._heads)
        self.n_passes = 0

    def compute(self, rows: Sequence[tuple[LoadedAdapter, Example]]) -> list[list[torch.Tensor]]:
        """Return each row's outputs, one tensor per sequence, cut to its own length."""
        placed = [_Placed(i, k, sequence, adapter)
                  for i, (adapter, example) in enumerate(rows) for k, sequence in enumerate(example.sequences)]
        outputs: list[dict[int, torch.Tensor]] = [{} for _ in rows]
        with torch.inference_mode():
            for batch in _passes(placed):
                self._run_pass(batch, outputs)
        return [[output[k] for k in sorted(output)] for output in outputs]

    def _run_pass(self, batch: list[_Placed], outputs: list[dict[int, torch.Tensor]]) -> None:
        inputs = collate([place.sequence for place in batch], int(self.base.tokenizer.pad_token_id or 0))
        if getattr(self.base.config, "type_vocab_size", 0) < 1:
            del inputs["token_type_ids"]
        self._deltas.of_layer = self.slots.gather([place.adapter.slot for place in batch])
        try:
            hidden = self._trunk(**inputs).last_hidden_state  # [B, T, I]
        finally:
            self._deltas.of_layer = {}
        self.n_passes += 1
        members: dict[str, list[int]] = defaultdict(list)
        for i, place in enumerate(batch):
            members[place.adapter.digest].append(i)
        for indices in members.values():
            self._run_head(batch, indices, hidden, inputs, outputs)

    def _run_head(self, batch: list[_Placed], indices: list[int], hidden: torch.Tensor,
                  inputs: dict[str, torch.Tensor], outputs: list[dict[int, torch.Tensor]]) -> None:
        adapter, rows = batch[indices[0]].adapter, torch.tensor(indices)
        result = self._heads.run(adapter.task, len(adapter.labels), adapter.head, hidden[rows],
                                 {name: value[rows] for name, value in inputs.items()})
        for i, output in zip(indices, result, strict=True):
            is_per_token = result.ndim == 3
            place = batch[i]
            outputs[place.row][place.part] = output[:len(place.sequence.input_ids)] if is_per_token else output


def _passes(placed: list[_Placed]) -> Iterator[list[_Placed]]:
    """Yield all sequences at once where they fit one pass, else sorted by length in several."""
    lengths = [len(place.sequence.input_ids) for place in placed]
    if not placed:
        return
    if max(lengths) * len(placed) <= TOKENS_PER_PASS:
        yield placed
        return
    batch: list[_Placed] = []
    for place in sorted(placed, key=lambda place: len(place.sequence.input_ids)):
        if batch and len(place.sequence.input_ids) * (len(batch) + 1) > TOKENS_PER_PASS:
            yield batch
            batch = []
        batch.append(place)
    yield batch
