"""The runtime's recipe: resolve, load, encode, one pass through the base, each adapter's head, answers in order."""

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from adapterhub.bases.load import Base, load_base
from adapterhub.errors import AdapterHubError, PredictionError
from adapterhub.registry import ReadableRegistry, Version, open_registries
from adapterhub.runtime.heads import Heads
from adapterhub.runtime.loaded import LoadedAdapter, LoadedAdapters
from adapterhub.runtime.slot_linear import BatchDeltas, encoder_linears, inject
from adapterhub.runtime.slots import NO_ADAPTER, Slots
from adapterhub.settings import Settings
from adapterhub.tasks.batch import collate
from adapterhub.tasks.table import find_task
from adapterhub.tasks.task import Example, TokenSequence

TOKENS_PER_PASS = 16384
"""Padded tokens of one pass; a larger batch takes several, sorted by length."""
_BARE = LoadedAdapter(digest="", slot=NO_ADAPTER, task=find_task("sentence-similarity"), labels=[], max_length=256,
                      head={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One row's answer, and which version gave it."""

    reference: str | None
    """As it was asked for; None: the bare base's embedding."""
    version: str | None
    """`namespace/name@3`."""
    digest: str | None
    """SHA-256 of that version."""
    task: str
    result: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What a runtime has done so far."""

    n_rows: int
    n_passes: int
    n_loads: int
    n_hits: int
    n_evictions: int
    n_resident: int
    slots_bytes: int


@dataclass(frozen=True, slots=True)
class _Placed:
    """One sequence of the batch and whose it is."""

    row: int
    part: int
    sequence: TokenSequence
    adapter: LoadedAdapter


class Runtime:
    """One base in memory that answers rows of any adapters of a registry. Thread-safe: passes run one at a time.

    Example: `Runtime("embedded", Registry("registry")).predict([("support/intents@production", "where is my card?")])`
    """

    def __init__(self, base: str | Base = "embedded", registry: ReadableRegistry | None = None, *,
                 max_slots: int = 256, settings: Settings | None = None) -> None:
        """Load the base; adapters are loaded when a row names them. Raises BaseNotFound."""
        settings = settings or Settings.from_environment()
        self.base = load_base(base, cache=settings.cache) if isinstance(base, str) else base
        self.registry = registry or open_registries(settings)
        self._trunk = self.base.load_trunk()
        self._deltas = BatchDeltas()
        self._slots = Slots(inject(self._trunk, encoder_linears(self._trunk), self._deltas), max_slots=max_slots)
        self._heads = Heads(self.base, self._trunk)
        self._adapters = LoadedAdapters(self.base, self._slots, self._heads)
        self._lock = threading.Lock()  # guards slots, deltas, adapters and the counts below
        self._n_rows = self._n_passes = 0

    def predict(self, rows: Sequence[tuple[str | None, Any]]) -> list[Answer]:
        """Answer rows of (reference, row), in their order.

        A row is a text, a pair of texts, a list of words or a mapping, as its adapter's task takes it.
        Raises AdapterNotFound, BaseMismatch, InvalidFolder, PredictionError, all before any row is computed.
        """
        versions = {reference: self._resolve(reference) for reference in dict.fromkeys(r for r, _ in rows)}
        with self._lock, torch.inference_mode():
            adapters = self._load_all(versions)
            examples = [_encode(self.base, adapters[reference], row, number)
                        for number, (reference, row) in enumerate(rows, start=1)]
            placed = [_Placed(i, k, sequence, adapters[rows[i][0]])
                      for i, example in enumerate(examples) for k, sequence in enumerate(example.sequences)]
            outputs: list[dict[int, torch.Tensor]] = [{} for _ in rows]
            for batch in _passes(placed):
                self._run_pass(batch, outputs)
            self._n_rows += len(rows)
        return [self._answer(reference, versions[reference], adapters[reference], example, output)
                for (reference, _), example, output in zip(rows, examples, outputs, strict=True)]

    def load(self, reference: str) -> Version:
        """Load an adapter ahead of its first row, and return its version. Raises as `predict`."""
        version = self.registry.resolve(reference)
        with self._lock:
            self._load_all({reference: version})
        return version

    def statistics(self) -> Statistics:
        """Return counts so far."""
        with self._lock:
            adapters = self._adapters
            return Statistics(n_rows=self._n_rows, n_passes=self._n_passes, n_loads=adapters.n_loads,
                              n_hits=adapters.n_hits, n_evictions=adapters.n_evictions,
                              n_resident=len(adapters.digests), slots_bytes=self._slots.size_bytes)

    def _resolve(self, reference: str | None) -> Version | None:
        return None if reference is None else self.registry.resolve(reference)

    def _load_all(self, versions: dict[Any, Version | None]) -> dict[Any, LoadedAdapter]:
        in_use = {version.digest for version in versions.values() if version}
        adapters: dict[Any, LoadedAdapter] = {}
        for reference, version in versions.items():
            if version is None:
                adapters[reference] = _BARE
                continue
            adapters[reference] = (self._adapters.find(version.digest)
                                   or self._adapters.load(self.registry.read(version), in_use=in_use))
        return adapters

    def _run_pass(self, batch: list[_Placed], outputs: list[dict[int, torch.Tensor]]) -> None:
        inputs = collate([place.sequence for place in batch], int(self.base.tokenizer.pad_token_id or 0))
        if getattr(self.base.config, "type_vocab_size", 0) < 1:
            del inputs["token_type_ids"]
        self._deltas.of_layer = self._slots.gather([place.adapter.slot for place in batch])
        try:
            hidden = self._trunk(**inputs).last_hidden_state  # [B, T, I]
        finally:
            self._deltas.of_layer = {}
        self._n_passes += 1
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

    @staticmethod
    def _answer(reference: str | None, version: Version | None, adapter: LoadedAdapter, example: Example,
                output: dict[int, torch.Tensor]) -> Answer:
        parts = [output[k] for k in sorted(output)]
        return Answer(reference=reference, version=version.reference if version else None,
                      digest=version.digest if version else None, task=adapter.task.name,
                      result=adapter.task.decode(parts, example, adapter.labels))


def _encode(base: Base, adapter: LoadedAdapter, row: Any, number: int) -> Example:
    try:
        parsed = adapter.task.parse_row(row)
        return adapter.task.encode([parsed], base.tokenizer, adapter.labels, adapter.max_length)[0]
    except AdapterHubError as error:
        raise PredictionError(f"Row {number}: {error.message}", hint=error.hint) from error


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
