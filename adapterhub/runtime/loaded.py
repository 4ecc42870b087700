"""Adapters in memory: which digest lies in which slot, who is in use, and who leaves when room is needed."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from adapterhub.adapter.check import check_folder
from adapterhub.adapter.folder import AdapterFolder
from adapterhub.bases.load import Base
from adapterhub.errors import PredictionError
from adapterhub.runtime.heads import Heads
from adapterhub.runtime.slots import Slots
from adapterhub.tasks.table import find_task
from adapterhub.tasks.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedAdapter:
    """One adapter in its slot."""

    digest: str
    slot: int
    task: Task
    labels: list[str]
    max_length: int
    head: dict[str, torch.Tensor]


class LoadedAdapters:
    """Adapters by content digest, never by name; the least recently used leaves first. Not thread-safe."""

    def __init__(self, base: Base, slots: Slots, heads: Heads) -> None:
        self._base, self._slots, self._heads = base, slots, heads
        self._by_digest: OrderedDict[str, LoadedAdapter] = OrderedDict()
        self._free = list(range(slots.max_slots, 0, -1))
        self.n_loads = self.n_hits = self.n_evictions = 0

    @property
    def digests(self) -> list[str]:
        """Resident digests, least recently used first."""
        return list(self._by_digest)

    def find(self, digest: str) -> LoadedAdapter | None:
        """Return a resident adapter and count it as used."""
        adapter = self._by_digest.get(digest)
        if adapter:
            self._by_digest.move_to_end(digest)
            self.n_hits += 1
        return adapter

    def load(self, folder: AdapterFolder, *, in_use: Iterable[str]) -> LoadedAdapter:
        """Check a folder against the base and copy it into a slot, evicting none that is `in_use`.

        Raises BaseMismatch, InvalidFolder as the check; PredictionError where it changes what cannot be shared, or
        every slot is in use.
        """
        tensors, manifest = check_folder(folder, self._base.shapes), folder.manifest
        strip = {module: self._base.shapes.strip(module) for module in tensors.delta_a}
        if unknown := sorted(set(strip.values()) - self._slots.layers.keys()):
            raise PredictionError(f"Adapter {folder.path} changes {unknown[0]}, which is no layer of the encoder.",
                                  hint="Train it on linear layers of the encoder.")
        task = find_task(manifest.task)
        head = self._heads.tensors_of(task, len(manifest.labels), tensors)
        slot = self._free_slot(set(in_use))
        self._slots.put(slot, tensors, folder.config, strip)
        adapter = LoadedAdapter(digest=folder.digest, slot=slot, task=task, labels=manifest.labels,
                                max_length=manifest.head.max_length, head=head)
        self._by_digest[folder.digest] = adapter
        self.n_loads += 1
        return adapter

    def unload(self, digest: str) -> None:
        """Free an adapter's slot; nothing happens where it is not resident."""
        adapter = self._by_digest.pop(digest, None)
        if adapter:
            self._slots.clear(adapter.slot)
            self._free.append(adapter.slot)

    def _free_slot(self, in_use: set[str]) -> int:
        if not self._free:
            victim = next((digest for digest in self._by_digest if digest not in in_use), None)
            if victim is None:
                raise PredictionError(f"One batch names more than {self._slots.max_slots} different adapters.",
                                      hint="Give the runtime more slots, or split the batch.")
            self.unload(victim)
            self.n_evictions += 1
        return self._free.pop()
