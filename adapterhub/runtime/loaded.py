"""Adapters in memory: which digest lies in which slot, who is pinned, and who leaves when room is needed."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch

from adapterhub.adapter.folder import AdapterFolder
from adapterhub.errors import NoRoom, PredictionError, RankTooLarge
from adapterhub.runtime.content import AdapterContent, AdapterReader
from adapterhub.runtime.eviction import GreedyDual
from adapterhub.runtime.methods import LayerFactors
from adapterhub.runtime.slots import SlotPool, Slots
from adapterhub.tasks.table import find_task
from adapterhub.tasks.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedAdapter:
    """One adapter in its slot. It never changes: another version is another record in another slot."""

    digest: str
    task: Task
    labels: list[str]
    head: Mapping[str, torch.Tensor]
    max_length: int | None = None
    """Tokens of a sequence in training; None: as many as the base reads."""
    pool: SlotPool | None = None
    """None where it has no A and B."""
    slot: int = -1
    factors: Mapping[str, LayerFactors] = field(default_factory=dict)
    layers: frozenset[str] = frozenset()
    size_bytes: int = 0


class HeadBinder(Protocol):
    """Takes an adapter's own head tensors, or refuses them."""

    def bind(self, task: Task, n_labels: int, head: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the head's tensors as they are kept. Raises PredictionError where the task reads others."""


class LoadedAdapters:
    """Adapters by content digest, never by name, within a budget of bytes. Not thread-safe."""

    def __init__(self, reader: AdapterReader, slots: Slots, heads: HeadBinder,
                 find: Callable[[str], Task] = find_task) -> None:
        self._reader, self._slots, self._heads, self._find = reader, slots, heads, find
        self._by_digest: dict[str, LoadedAdapter] = {}
        self._worth = GreedyDual()
        self._pins: Counter[str] = Counter()
        self.n_loads = self.n_hits = self.n_evictions = 0
        self.load_seconds = 0.0

    @property
    def digests(self) -> list[str]:
        """Resident digests, who would leave first in front."""
        return self._worth.keys()

    @property
    def size_bytes(self) -> int:
        """Memory of everything resident."""
        return self._worth.size_bytes

    def __contains__(self, digest: str) -> bool:
        return digest in self._by_digest

    def find(self, digest: str) -> LoadedAdapter | None:
        """Return a resident adapter and count it as used."""
        adapter = self._by_digest.get(digest)
        if adapter:
            self._worth.touch(digest)
            self.n_hits += 1
        return adapter

    def pin(self, digest: str) -> None:
        """Keep a resident adapter until as many `unpin`s; its rows end on the bytes they began with."""
        self._pins[digest] += 1

    def unpin(self, digest: str) -> None:
        """Take one pin back."""
        self._pins[digest] -= 1
        if self._pins[digest] <= 0:
            del self._pins[digest]

    def may_fit(self, digests: Collection[str]) -> bool:
        """Say whether these adapters may all be resident at once, by their number alone."""
        limit = self._slots.max_slots
        return limit is None or len({*digests, *self._pins}) <= limit

    def load(self, folder: AdapterFolder, *, in_use: Collection[str], cost_s: float = 0.0) -> LoadedAdapter:
        """Check a folder against the base and copy it into a slot, evicting none that is pinned or `in_use`.

        `cost_s`: seconds that fetching it took, which coming back would take again.
        Raises BaseMismatch, InvalidFolder as the check; PredictionError where it changes what cannot be shared;
        RankTooLarge where it is larger than the budget; NoRoom where what is in use leaves none.
        """
        if resident := self.find(folder.digest):
            return resident
        started = time.perf_counter()
        content, manifest = self._reader.read(folder), folder.manifest
        task = self._find(manifest.task)
        head = self._heads.bind(task, len(manifest.labels), content.head)
        pool = None if content.shape is None else self._slots.pool_of(content.shape)
        size_bytes = (pool.slot_bytes if pool else 0) + content.factors_bytes + sum(map(_n_bytes, head.values()))
        self._make_room(size_bytes, pool, {*in_use, *self._pins}, folder)
        slot = -1 if pool is None else _fill(pool, content)
        self.n_loads += 1
        adapter = LoadedAdapter(digest=folder.digest, task=task, labels=manifest.labels, head=head, pool=pool,
                                max_length=manifest.head.max_length, slot=slot, factors=content.factors,
                                layers=frozenset(content.layers),
                                size_bytes=size_bytes)
        self._by_digest[folder.digest] = adapter
        seconds = time.perf_counter() - started
        self.load_seconds += seconds
        self._worth.add(folder.digest, size_bytes=size_bytes, cost_s=cost_s + seconds)
        return adapter

    def unload(self, digest: str, *, keeps_memory: bool = False) -> None:
        """Free an adapter's slot; nothing happens where it is not resident. Raises PredictionError where pinned."""
        if self._pins[digest]:
            raise PredictionError(f"Adapter sha256:{digest[:12]} is pinned.", hint="Unpin it first.")
        adapter = self._by_digest.pop(digest, None)
        if adapter:
            self._worth.remove(digest)
            if adapter.pool is not None:
                adapter.pool.give_back(adapter.slot, keeps_memory=keeps_memory)

    def _make_room(self, size_bytes: int, pool: SlotPool | None, kept: set[str], folder: AdapterFolder) -> None:
        budget = self._slots.budget_bytes
        if pool is not None and pool.slot_bytes > budget:
            raise RankTooLarge(f"Adapter {folder.path} of rank {folder.config.r} takes {pool.slot_bytes:,} bytes, "
                               f"the slots have {budget:,}.",
                               hint=f"Give the runtime slots_bytes of at least {pool.slot_bytes}.")
        limit = self._slots.max_slots or len(self._by_digest) + 1
        while self._by_digest and (self._worth.size_bytes + size_bytes > budget or len(self._by_digest) >= limit):
            victim = self._worth.choose(kept)
            if victim is None:
                raise NoRoom(f"There is no room for adapter {folder.path}: every slot is in use.",
                             hint="Give the runtime more slots_bytes, or unpin an adapter.")
            self.unload(victim, keeps_memory=self._by_digest[victim].pool is pool)
            self.n_evictions += 1


def _fill(pool: SlotPool, content: AdapterContent) -> int:
    """Write an adapter into a free slot and return it. Raises InvalidFolder where its values are no numbers."""
    slot = pool.take()
    try:
        pool.fill(slot, content.write)
    except BaseException:
        pool.give_back(slot, keeps_memory=True)
        raise
    return slot


def _n_bytes(tensor: torch.Tensor) -> int:
    return tensor.nbytes
