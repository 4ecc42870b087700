"""The runtime's recipe: resolve, queue, and step by step plan, load, compute, settle. It trains nothing."""

import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

from adapterhub.bases.load import Base, load_base
from adapterhub.errors import AdapterHubError, Cancelled, DeadlinePassed, NoRoom, PredictionError
from adapterhub.registry import ReadableRegistry, Version, WithFolders, open_registries, resolve_served
from adapterhub.runtime.answer import Answer, Failure
from adapterhub.runtime.cache import AdapterCache
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.encoding import encode_rows
from adapterhub.runtime.loaded import LoadedAdapter
from adapterhub.runtime.pending import PendingRows
from adapterhub.runtime.plan import PassLimits, WaitingRow, next_rows
from adapterhub.runtime.shared_base import SharedBase
from adapterhub.runtime.statistics import Statistics
from adapterhub.runtime.watch import FORWARD, LOAD, Moment, Watch
from adapterhub.settings import Settings
from adapterhub.tasks.table import find_task

_BARE = LoadedAdapter(digest="", task=find_task("sentence-similarity"), labels=[], head={})
_ROWS_PER_STEP = 1024
"""Rows taken from the queue at once; how many make one pass is decided by their tokens."""


class Runtime:
    """One base in memory that answers rows of any adapters of a registry. Thread-safe.

    Callers in several threads share passes: whoever computes takes along what the others have asked for meanwhile.

    Example: `Runtime("embedded", Registry("registry")).predict([("support/intents@production", "where is my card?")])`
    """

    def __init__(self, base: str | Base = "embedded", registry: ReadableRegistry | None = None, *,
                 config: RuntimeConfig | None = None, settings: Settings | None = None) -> None:
        """Load the base; adapters are loaded when a row names them. Raises BaseNotFound, InvalidConfig."""
        settings, self.config = settings or Settings.from_environment(), config or RuntimeConfig()
        self.base = load_base(base, cache=settings.cache) if isinstance(base, str) else base
        self.registry = WithFolders(registry or open_registries(settings))
        self._shared = SharedBase(self.base, self.config)
        self._cache = AdapterCache(self.registry, host_bytes=self.config.host_bytes, n_fetchers=self.config.n_fetchers,
                                   disk_bytes=self.config.disk_bytes, disk=settings.cache / "adapters")
        self._waiting: list[WaitingRow] = []
        self._queue_lock = threading.Lock()  # guards the list of waiting rows
        self._lock = threading.RLock()  # guards the shared base and the counts below; taken before the queue's
        self._n_rows = self._n_failures = 0
        self.watch: Watch | None = None
        """Told of each load and pass; None: nobody wants to know."""
        self._compute_seconds = self._wait_seconds = 0.0

    def predict(self, rows: Sequence[tuple[str | None, Any]], *, truncate: bool = False) -> list[Answer]:
        """Answer rows of (reference, row), in their order.

        A reference is `namespace/name` with or without a version, `./folder` for one that is not published, or None
        for the bare base's embedding. A row is a text, a pair of texts, a list of words or a mapping, as its adapter's
        task takes it; one that is longer than the base reads is refused, or cut with `truncate`.
        Raises the first row's AdapterHubError: AdapterNotFound, BaseMismatch, InvalidFolder, PredictionError.
        """
        answers = self.answer(rows, truncate=truncate)
        for answer in answers:
            if isinstance(answer, Failure):
                raise answer.error
        return [answer for answer in answers if isinstance(answer, Answer)]

    def answer(self, rows: Sequence[tuple[str | None, Any]], *, truncate: bool = False) -> list[Answer | Failure]:
        """Answer rows of (reference, row), in their order; a row at fault fails alone, with its own error."""
        return self.submit(rows, truncate=truncate).answers()

    def submit(self, rows: Sequence[tuple[str | None, Any]], *, truncate: bool = False,
               timeout_s: float | None = None) -> PendingRows:
        """Queue rows of (reference, row), to be waited for or cancelled; their adapters are fetched ahead.

        Which version a reference means is decided here. A row that no pass has begun after `timeout_s` fails with
        DeadlinePassed.
        """
        return PendingRows(self._enqueue(rows, truncate, timeout_s), self._work_until_done, self._cancel)

    def load(self, reference: str) -> Version:
        """Load an adapter ahead of its first row, and return its version. Raises as `predict`."""
        version = resolve_served(self.registry, reference)
        with self._lock:
            self._ensure(version, in_use={version.digest})
        return version

    def fetch(self, reference: str) -> Version:
        """Have an adapter's files at hand, without waiting for passes that run. Raises as `load`."""
        version = resolve_served(self.registry, reference)
        if version.digest not in self._shared.adapters:
            self._cache.fetch(version)
        return version

    def pin(self, reference: str) -> Version:
        """Load an adapter and keep it resident until `unpin`. Raises as `predict`."""
        version = resolve_served(self.registry, reference)
        with self._lock:
            self._ensure(version, in_use={version.digest})
            self._shared.adapters.pin(version.digest)
        return version

    def unpin(self, reference: str) -> None:
        """Let a pinned adapter leave again when room is needed. Raises AdapterNotFound."""
        version = self.registry.resolve(reference)
        with self._lock:
            self._shared.adapters.unpin(version.digest)

    def unload(self, reference: str) -> None:
        """Free an adapter's slot now. Raises PredictionError where it is pinned; AdapterNotFound."""
        version = self.registry.resolve(reference)
        with self._lock:
            self._shared.adapters.unload(version.digest)

    def resident_digests(self) -> list[str]:
        """Return the adapters in slots, who would leave first in front."""
        with self._lock:
            return self._shared.adapters.digests

    def statistics(self) -> Statistics:
        """Return what was done so far."""
        with self._lock:
            adapters, cache = self._shared.adapters, self._cache
            return Statistics(
                n_rows=self._n_rows, n_failures=self._n_failures, n_passes=self._shared.n_passes,
                compute_seconds=self._compute_seconds, wait_seconds=self._wait_seconds, n_loads=adapters.n_loads,
                load_seconds=adapters.load_seconds, n_hits=adapters.n_hits, n_evictions=adapters.n_evictions,
                n_resident=len(adapters.digests), n_host_hits=cache.n_host_hits, n_disk_hits=cache.n_disk_hits,
                n_registry_reads=cache.n_registry_reads, n_fetch_failures=cache.n_failures,
                slots_bytes=adapters.size_bytes, host_bytes=cache.host_bytes)

    def close(self) -> None:
        """End background threads; the runtime answers no more."""
        self._cache.close()

    def _enqueue(self, rows: Sequence[tuple[str | None, Any]], truncate: bool,
                 timeout_s: float | None) -> list[WaitingRow]:
        """Resolve each reference once, begin fetching what is not at hand, and queue the rows."""
        versions: dict[str | None, Version | AdapterHubError | None] = {None: None}
        for reference, _ in rows:
            if reference not in versions:
                versions[reference] = self._resolve(reference)
        now = time.monotonic()
        deadline = None if timeout_s is None else now + timeout_s
        waiting: list[WaitingRow] = []
        for reference, row in rows:
            version = versions[reference]
            found = None if isinstance(version, AdapterHubError) else version
            waiting.append(WaitingRow(len(waiting) + 1, reference, found, row, now, truncate, deadline))
            if isinstance(version, AdapterHubError):
                self._fail(waiting[-1], version)
        missing = {row.digest: row.version for row in waiting
                   if row.version and row.digest not in self._shared.adapters and not row.is_done}
        if len(missing) > 1:
            for version in missing.values():
                assert version is not None, "only rows with a version are missing"
                self._cache.fetch_ahead(version)
        with self._queue_lock:
            self._waiting += [row for row in waiting if not row.is_done]
        return waiting

    def _resolve(self, reference: str | None) -> Version | AdapterHubError:
        try:
            if not isinstance(reference, str):
                raise PredictionError(f"A reference must be a text, found {type(reference).__name__}.",
                                      hint="Give namespace/name, ./folder, or None for the bare base.")
            return resolve_served(self.registry, reference)
        except AdapterHubError as error:
            return error

    def _cancel(self, rows: Sequence[WaitingRow]) -> int:
        error = Cancelled("The row was cancelled before a pass began with it.", hint="Ask for it again.")
        with self._queue_lock:
            taken_back = [row for row in rows if not row.is_taken and not row.is_done]
            for row in taken_back:
                row.answer = Failure(reference=row.reference, error=error)
            self._waiting = [row for row in self._waiting if not row.is_done]
        return len(taken_back)

    def _work_until_done(self, rows: Sequence[WaitingRow]) -> None:
        try:
            while not all(row.is_done for row in rows):
                with self._lock:
                    if not all(row.is_done for row in rows):
                        self._step()
        except BaseException:
            # A fault of ours, or Ctrl-C: these rows must not meet the next caller.
            own = set(map(id, rows))
            with self._queue_lock:
                self._waiting = [row for row in self._waiting if id(row) not in own]
            raise

    def _step(self) -> None:
        """Plan, load, compute and settle one batch of waiting rows."""
        batch = self._plan()
        try:
            adapters = self._load(batch)
            ready = [row for row in batch if not row.is_done and row.digest in adapters]
            encode_rows(ready, adapters, self.base, self._fail)
            self._compute([row for row in ready if not row.is_done], adapters)
        finally:
            with self._queue_lock:
                for row in batch:
                    row.is_taken = False  # one without room, or of a pass that broke, waits or can be cancelled
                self._waiting = [row for row in self._waiting if not row.is_done]

    def _plan(self) -> list[WaitingRow]:
        """Choose the rows of the next pass; from here on they cannot be cancelled."""
        with self._queue_lock:
            digests = {row.digest for row in self._waiting}
        self._cache.wait(digests, self.config.gather_s)
        limits = PassLimits(n_rows=_ROWS_PER_STEP, max_age_s=self.config.max_age_s,
                            may_fit=self._shared.adapters.may_fit)
        now = time.monotonic()
        with self._queue_lock:
            for row in self._waiting:
                if row.deadline is not None and now > row.deadline and not row.is_done:
                    self._fail(row, DeadlinePassed(f"{row.name} waited {now - row.enqueued_at:.2f} seconds, longer "
                                                   "than it was given.", hint="Ask again, or give it more time."))
            waiting = [row for row in self._waiting if not row.is_done]
            rows = next_rows(waiting, now=now, is_resident=self._shared.adapters.__contains__,
                             is_ready=self._cache.is_ready, limits=limits)
            for row in rows:
                row.is_taken = True
        return rows

    def _load(self, batch: Iterable[WaitingRow]) -> dict[str, LoadedAdapter]:
        """Have every row's adapter resident; rows whose adapter cannot be had fail, rows without room wait."""
        adapters: dict[str, LoadedAdapter] = {"": _BARE}
        failures: dict[str, AdapterHubError] = {}
        for row in batch:
            if row.version is None or row.digest in adapters:
                continue
            try:
                if row.digest in failures:
                    raise failures[row.digest]
                adapters[row.digest] = self._ensure(row.version, in_use=adapters.keys())
            except NoRoom as error:
                if len(adapters) == 1:  # nothing of this pass is in the way: it will not fit later either
                    self._fail(row, error)
            except AdapterHubError as error:
                failures[row.digest] = error
                self._fail(row, error)
        return adapters

    def _ensure(self, version: Version, *, in_use: Iterable[str]) -> LoadedAdapter:
        resident = self._shared.adapters
        found = resident.find(version.digest)
        if found is None:
            started = time.monotonic()
            fetched = self._cache.fetch(version)
            found = resident.load(fetched.folder, in_use=set(in_use), cost_s=fetched.seconds)
            if self.watch:
                self.watch(Moment(LOAD, started, time.monotonic(), digest=version.digest))
        return found

    def _compute(self, rows: list[WaitingRow], adapters: dict[str, LoadedAdapter]) -> None:
        started, begun = time.perf_counter(), time.monotonic()
        self._wait_seconds += sum(begun - row.enqueued_at for row in rows)
        placed = [(adapters[row.digest], row.example) for row in rows if row.example is not None]
        outputs = self._shared.compute(placed)
        self._compute_seconds += time.perf_counter() - started
        if self.watch:
            self.watch(Moment(FORWARD, begun, time.monotonic(), n_rows=len(rows)))
        for row, (adapter, example), output in zip(rows, placed, outputs, strict=True):
            version = row.version
            row.answer = Answer(reference=row.reference, version=version.reference if version else None,
                                digest=version.digest if version else None, task=adapter.task.name,
                                result=adapter.task.decode(output, example, adapter.labels))
        self._n_rows += len(rows)

    def _fail(self, row: WaitingRow, error: AdapterHubError) -> None:
        row.answer = Failure(reference=row.reference, error=error)
        self._n_failures += 1
