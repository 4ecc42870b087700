"""The runtime's recipe: resolve, load, encode, one pass through the base, each adapter's head, answers in order."""

import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from adapterhub.bases.load import Base, load_base
from adapterhub.errors import AdapterHubError, PredictionError
from adapterhub.registry import ReadableRegistry, Version, open_registries
from adapterhub.runtime.loaded import LoadedAdapter
from adapterhub.runtime.shared_base import SharedBase
from adapterhub.runtime.slots import NO_ADAPTER
from adapterhub.settings import Settings
from adapterhub.tasks.table import find_task
from adapterhub.tasks.task import Example

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
        self._shared = SharedBase(self.base, max_slots=max_slots)
        self._lock = threading.Lock()  # guards the shared base and the count below
        self._n_rows = 0

    def predict(self, rows: Sequence[tuple[str | None, Any]]) -> list[Answer]:
        """Answer rows of (reference, row), in their order.

        A row is a text, a pair of texts, a list of words or a mapping, as its adapter's task takes it.
        Raises AdapterNotFound, BaseMismatch, InvalidFolder, PredictionError, all before any row is computed.
        """
        versions = {reference: self._resolve(reference) for reference in dict.fromkeys(r for r, _ in rows)}
        with self._lock:
            adapters = self._load_all(versions)
            examples = [_encode(self.base, adapters[reference], row, number)
                        for number, (reference, row) in enumerate(rows, start=1)]
            outputs = self._shared.compute([(adapters[reference], example)
                                            for (reference, _), example in zip(rows, examples, strict=True)])
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
            adapters = self._shared.adapters
            return Statistics(n_rows=self._n_rows, n_passes=self._shared.n_passes, n_loads=adapters.n_loads,
                              n_hits=adapters.n_hits, n_evictions=adapters.n_evictions,
                              n_resident=len(adapters.digests), slots_bytes=self._shared.slots.size_bytes)

    def _resolve(self, reference: str | None) -> Version | None:
        return None if reference is None else self.registry.resolve(reference)

    def _load_all(self, versions: dict[Any, Version | None]) -> dict[Any, LoadedAdapter]:
        in_use = {version.digest for version in versions.values() if version}
        adapters: dict[Any, LoadedAdapter] = {}
        for reference, version in versions.items():
            if version is None:
                adapters[reference] = _BARE
                continue
            resident = self._shared.adapters
            adapters[reference] = (resident.find(version.digest)
                                   or resident.load(self.registry.read(version), in_use=in_use))
        return adapters

    @staticmethod
    def _answer(reference: str | None, version: Version | None, adapter: LoadedAdapter, example: Example,
                output: list[torch.Tensor]) -> Answer:
        return Answer(reference=reference, version=version.reference if version else None,
                      digest=version.digest if version else None, task=adapter.task.name,
                      result=adapter.task.decode(output, example, adapter.labels))


def _encode(base: Base, adapter: LoadedAdapter, row: Any, number: int) -> Example:
    try:
        parsed = adapter.task.parse_row(row)
        longest = min(adapter.max_length, base.max_length)
        return adapter.task.encode([parsed], base.tokenizer, adapter.labels, longest)[0]
    except AdapterHubError as error:
        raise PredictionError(f"Row {number}: {error.message}", hint=error.hint) from error
