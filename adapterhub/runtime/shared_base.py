"""One base in memory with slots in its layers: loads adapters, and computes rows of many of them in one pass.

It knows no registry and no references. Not thread-safe.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from adapterhub.bases.load import Base
from adapterhub.errors import BaseNotFound
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.content import AdapterReader
from adapterhub.runtime.copies import finish, on_device, on_host
from adapterhub.runtime.device import device_of, dtype_of
from adapterhub.runtime.fan_out import FanOut, layer_number
from adapterhub.runtime.grouping import order_of, work_of
from adapterhub.runtime.heads import Heads
from adapterhub.runtime.loaded import LoadedAdapter, LoadedAdapters
from adapterhub.runtime.slot_linear import BatchWork, LayerWork, adaptable_layers, inject
from adapterhub.runtime.slots import Slots
from adapterhub.tasks.batch import collate
from adapterhub.tasks.task import Example, TokenSequence

_LEARNED_ROWS, _LEARNED_TOKENS = 3, 7
"""Of the pass that shows how the base calls its layers; unequal, so that they cannot be taken for one another."""
_CPU_PADDING = 256
"""Padded tokens that cost a processor about what one more pass costs. With the embedded base 64 to 256 differ by 5 %,
and all answer 256 short texts three times as fast as one padded pass."""
_GPU_PADDING = 8192
"""A GPU computes as many in the time that one more pass takes to launch."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """One sequence of the batch and whose it is."""

    row: int
    part: int
    sequence: TokenSequence
    adapter: LoadedAdapter


class SharedBase:
    """The frozen base, its slots, and the adapters in them."""

    def __init__(self, base: Base, config: RuntimeConfig | None = None) -> None:
        """Load the base. Raises BaseNotFound where it is of a type that only writes."""
        self.base, self.config = base, config or RuntimeConfig()
        self.device = device_of(self.config.device)
        self.dtype = dtype_of(self.config.dtype, self.device)
        self._trunk = base.load_trunk(dtype=self.dtype)
        self._trunk.to(self.device)  # type: ignore[arg-type]  # transformers' own signature is wrapped
        self._heads = Heads(base, self._trunk)
        self._fan_out = FanOut(self._trunk)
        self._work = BatchWork()
        outside = {f"pooler.{name}": value.detach() for name, value in self._heads.pooler_weights()}
        layers = inject(self._trunk, adaptable_layers(self._trunk), self._work, is_packed=self.config.is_packed)
        self.slots = Slots(dtype=self.dtype, device=self.device, budget_bytes=self.config.slots_bytes,
                           max_slots=self.config.max_slots)
        self.adapters = LoadedAdapters(AdapterReader(base.shapes, layers, outside), self.slots, self._heads)
        self.n_passes = 0
        self._solo_layers = self._learn_layers()

    def compute(self, rows: Sequence[tuple[LoadedAdapter, Example]]) -> list[list[torch.Tensor]]:
        """Return each row's outputs, float32 on the processor, one tensor per sequence, cut to its own length."""
        placed = [_Placed(i, k, sequence, adapter)
                  for i, (adapter, example) in enumerate(rows) for k, sequence in enumerate(example.sequences)]
        outputs: list[dict[int, torch.Tensor]] = [{} for _ in rows]
        padding = _CPU_PADDING if self.device.type == "cpu" else _GPU_PADDING
        with torch.inference_mode():
            for group in self._groups(placed):
                for batch in _passes(group, self.config.tokens_per_pass, padding):
                    self._run_pass(batch, outputs)
            finish(self.device)  # the call's one wait for the device
        return [[output[k] for k in sorted(output)] for output in outputs]

    def _learn_layers(self) -> frozenset[str]:
        """Run one small pass, and return the layers that are not called with a row for each row.

        DeBERTa projects its relative positions by the same layers as its tokens: rows of several adapters cannot
        share such a call.
        """
        # Of unequal lengths, so that a mask is passed on.
        lengths = [_LEARNED_TOKENS - i for i in range(_LEARNED_ROWS)]
        inputs = self._inputs([TokenSequence(input_ids=[length] * length, token_type_ids=[0] * length)
                               for length in lengths])
        seen: dict[str, set[int]] = {}
        self._work.seen = seen
        self._fan_out.learn(_LEARNED_ROWS)
        with torch.inference_mode():
            try:
                self._trunk(**inputs)
            except ValueError as error:  # T5: its decoder has to be given what it wrote so far
                raise BaseNotFound(f"{self.base.source.id} is of type {self.base.config.model_type}, which does not "
                                   "only read.", hint="Ask a Generator.") from error
        self._fan_out.learn(0)
        self._work.seen = None
        return frozenset(layer for layer, rows in seen.items() if rows != {_LEARNED_ROWS})

    def _groups(self, placed: list[_Placed]) -> list[list[_Placed]]:
        """Return the rows that may share passes: adapters of layers that rows cannot share run alone."""
        groups: dict[str, list[_Placed]] = defaultdict(list)
        for place in placed:
            is_solo = bool(place.adapter.layers & self._solo_layers)
            groups[place.adapter.digest if is_solo else ""].append(place)
        return list(groups.values())

    def _run_pass(self, batch: list[_Placed], outputs: list[dict[int, torch.Tensor]]) -> None:
        order = order_of([place.adapter for place in batch])
        batch = [batch[i] for i in order]
        inputs = self._inputs([place.sequence for place in batch])
        hidden = self._run_trunk(batch, inputs)
        self.n_passes += 1
        members: dict[str, list[int]] = defaultdict(list)
        for i, place in enumerate(batch):
            members[place.adapter.digest].append(i)
        for indices in members.values():
            self._run_head(batch, indices, hidden, inputs, outputs)

    def _inputs(self, sequences: list[TokenSequence]) -> dict[str, torch.Tensor]:
        inputs = collate(sequences, int(self.base.tokenizer.pad_token_id or 0))
        if getattr(self.base.config, "type_vocab_size", 0) < 1:
            del inputs["token_type_ids"]
        return {name: on_device(value, self.device) for name, value in inputs.items()}

    def _run_trunk(self, batch: list[_Placed], inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the last hidden states [B, T, I], each row changed by its own adapter."""
        self.slots.settle()
        work = work_of([place.adapter for place in batch], self.dtype, self.device)
        texts: dict[tuple[int, ...], int] = {}
        text_of_row = [texts.setdefault((*place.sequence.input_ids, -1, *place.sequence.token_type_ids), len(texts))
                       for place in batch]
        first_layer = min((number if (number := layer_number(layer)) is not None else -1 for layer in work),
                          default=self._fan_out.n_layers)
        is_solo = not self._solo_layers.isdisjoint(work)
        if len(texts) < len(batch) and first_layer >= 0 and self._fan_out.n_layers and not is_solo:
            return self._run_fanned_out(text_of_row, len(texts), first_layer, work, inputs)
        self._work.of_layer = work
        try:
            hidden: torch.Tensor = self._trunk(**inputs).last_hidden_state
        finally:
            self._work.of_layer = {}
        return hidden

    def _run_fanned_out(self, text_of_row: list[int], n_texts: int, first_layer: int, work: dict[str, LayerWork],
                        inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Compute each text once below the first adapted layer."""
        first_row = [text_of_row.index(text) for text in range(n_texts)]
        rows = on_device(torch.tensor(text_of_row), self.device)
        texts = on_device(torch.tensor(first_row), self.device)
        self._work.of_layer = work
        self._fan_out.start(rows, first_layer)
        try:
            hidden: torch.Tensor = self._trunk(**{name: value[texts] for name, value in inputs.items()}
                                               ).last_hidden_state
        finally:
            self._fan_out.stop()
            self._work.of_layer = {}
        return hidden if hidden.shape[0] == len(text_of_row) else hidden[rows]

    def _run_head(self, batch: list[_Placed], indices: list[int], hidden: torch.Tensor,
                  inputs: dict[str, torch.Tensor], outputs: list[dict[int, torch.Tensor]]) -> None:
        adapter = batch[indices[0]].adapter
        rows = slice(indices[0], indices[-1] + 1)  # neighbours, as `order_of` placed them
        result = on_host(self._heads.run(adapter.task, len(adapter.labels), adapter.head, hidden[rows],
                                 {name: value[rows] for name, value in inputs.items()}))
        for i, output in zip(indices, result, strict=True):
            is_per_token = result.ndim == 3
            place = batch[i]
            outputs[place.row][place.part] = output[:len(place.sequence.input_ids)] if is_per_token else output


def _passes(placed: list[_Placed], tokens_per_pass: int, padding_per_pass: int) -> Iterator[list[_Placed]]:
    """Yield sequences of like length together: a pass ends where it would be too large, or too much of it padding."""
    batch: list[_Placed] = []
    n_tokens = 0
    for place in sorted(placed, key=lambda place: len(place.sequence.input_ids)):
        longest = len(place.sequence.input_ids)
        if batch and (longest * (len(batch) + 1) > tokens_per_pass
                      or longest * len(batch) - n_tokens > padding_per_pass):
            yield batch
            batch, n_tokens = [], 0
        batch.append(place)
        n_tokens += longest
    if batch:
        yield batch
