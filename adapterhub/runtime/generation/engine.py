"""The generator's recipe: resolve, queue, and step by step let rows join, write and leave. It trains nothing."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from adapterhub.bases.load import Base, load_base
from adapterhub.errors import AdapterHubError, DeadlinePassed, NoRoom, PassFailed
from adapterhub.registry import ReadableRegistry, Version, WithFolders, open_registries, resolve_served
from adapterhub.runtime.answer import Failure
from adapterhub.runtime.cache import AdapterCache
from adapterhub.runtime.generation.admission import Admission
from adapterhub.runtime.generation.flight import Flight
from adapterhub.runtime.generation.language_model import SlotLanguageModel
from adapterhub.runtime.generation.request import RequestReader
from adapterhub.runtime.generation.row import CANCELLED, DEADLINE, Generated, WritingRow
from adapterhub.runtime.generation.settings import GenerationSettings, GeneratorConfig
from adapterhub.runtime.generation.statistics import GenerationStatistics
from adapterhub.runtime.generation.stream import TokenStream
from adapterhub.runtime.loaded import LoadedAdapter
from adapterhub.runtime.watch import LOAD, Moment, Watch
from adapterhub.settings import Settings

Asked = tuple[str | None, Any] | tuple[str | None, Any, GenerationSettings]
"""(reference, prompt) or (reference, prompt, settings)."""


class Generator:
    """One language model in memory that writes for rows of any adapters of a registry. Thread-safe.

    Whoever waits for a token steps, and takes all other rows along; a server may step in a thread of its own.
    In float32 a greedy row's tokens are those that `transformers` generates with the PEFT model for that row alone.

    Example: `Generator("my/llama", Registry("registry")).generate([("stories/dragons", "Once upon a time")])`
    """

    def __init__(self, base: str | Base, registry: ReadableRegistry | None = None, *,
                 config: GeneratorConfig | None = None, settings: Settings | None = None) -> None:
        """Load the base; adapters are loaded when a row names them. Raises BaseNotFound, InvalidConfig."""
        settings, self.config = settings or Settings.from_environment(), config or GeneratorConfig()
        self.base = load_base(base, cache=settings.cache) if isinstance(base, str) else base
        self.registry = WithFolders(registry or open_registries(settings))
        runtime = self.config.runtime
        self._model = SlotLanguageModel(self.base, runtime)
        self._requests = RequestReader(self._model, self.config.cache_bytes)
        self._cache = AdapterCache(self.registry, host_bytes=runtime.host_bytes, n_fetchers=runtime.n_fetchers,
                                   disk_bytes=runtime.disk_bytes, disk=settings.cache / "adapters")
        self._flight = Flight(self._model)
        self._waiting: list[WritingRow] = []
        self._queue_lock = threading.Lock()  # guards the list of waiting rows
        self._lock = threading.RLock()  # guards the model, the flight and the counts below; taken before the queue's
        self._n_rows = self._n_failures = self._n_tokens = 0
        self.watch: Watch | None = None
        """Told of each load; None: nobody wants to know."""

    def submit(self, reference: str | None, prompt: Any, settings: GenerationSettings | None = None, *,
               timeout_s: float | None = None) -> TokenStream:
        """Queue a row and return its stream; None as reference is the bare base, a path is a folder not published.

        A prompt is a text, or chat messages that go through the base's chat template. After `timeout_s` a row ends
        with what it has written; one that no pass has begun fails with DeadlinePassed.
        Raises AdapterNotFound, InvalidReference; PredictionError for a prompt that cannot be read or is longer than
        the base reads; RowTooLarge where it does not fit the cache even alone. What is wrong with the adapter itself
        (BaseMismatch, InvalidFolder, RankTooLarge) is raised by the stream.
        """
        version = None if reference is None else resolve_served(self.registry, reference)
        row = self._requests.row(reference, version, prompt, settings or GenerationSettings(), now=time.monotonic(),
                                 timeout_s=timeout_s)
        if version and version.digest not in self._model.adapters:
            self._cache.fetch_ahead(version)
        with self._queue_lock:
            self._waiting.append(row)
        return TokenStream(row, self._step_until, self._cancel)

    def generate(self, rows: Sequence[Asked]) -> list[Generated | Failure]:
        """Answer rows in their order; a row at fault fails alone, with its own error."""
        streams = [self._submit_or_fail(asked) for asked in rows]
        return [stream if isinstance(stream, Failure) else stream.outcome() for stream in streams]

    def load(self, reference: str) -> Version:
        """Load an adapter ahead of its first row, and return its version. Raises what its rows would meet."""
        version = resolve_served(self.registry, reference)
        with self._lock:
            self._ensure(version)
        return version

    def step(self) -> bool:
        """Let waiting rows join, write one token for every row in flight, and say whether any row is left."""
        with self._lock:
            joining: list[WritingRow] = []
            try:
                self._let_go(time.monotonic())
                joining = self._admit()
                if joining:
                    self._settle(self._flight.join(joining))
                self._n_tokens += len(joining) + len(self._flight.rows)
                self._settle(self._flight.advance())
            except Exception as error:
                self._fail_all(error, joining)
                raise
            return bool(self._flight.rows or self._waiting)

    def statistics(self) -> GenerationStatistics:
        """Return what was done so far."""
        with self._lock:
            adapters = self._model.adapters
            return GenerationStatistics(
                n_rows=self._n_rows, n_failures=self._n_failures, n_tokens=self._n_tokens,
                n_passes=self._model.n_passes, n_running=len(self._flight.rows), n_waiting=len(self._waiting),
                n_resident=len(adapters.digests), n_loads=adapters.n_loads, n_evictions=adapters.n_evictions,
                cache_bytes=self._flight.size_bytes, slots_bytes=adapters.size_bytes)

    def close(self) -> None:
        """End background threads; the generator answers no more."""
        self._cache.close()

    def _submit_or_fail(self, asked: Asked) -> TokenStream | Failure:
        try:
            return self.submit(*asked)
        except AdapterHubError as error:
            return Failure(reference=asked[0], error=error)

    def _step_until(self, is_ready: Callable[[], bool]) -> None:
        while not is_ready():
            with self._lock:
                if not is_ready():  # another thread may have stepped meanwhile
                    self.step()

    def _let_go(self, now: float) -> None:
        """End rows whose time is over, and those that nobody can read any more; their memory is free at once."""
        waiting = self._queued()
        abandoned = [row for row in (*self._flight.rows, *waiting) if row.is_abandoned]
        self._end(abandoned, CANCELLED)
        self._end([row for row in self._flight.rows if row.is_late(now)], DEADLINE)
        late = [row for row in waiting if row.is_late(now) and not row.is_done]
        for row in late:
            self._fail(row, DeadlinePassed(f"The row waited {now - row.enqueued_at:.2f} seconds, longer than it was "
                                           "given.", hint="Ask again, or give it more time."))
        if late:
            self._drop_done()

    def _end(self, rows: Sequence[WritingRow], reason: str) -> None:
        """End rows for a reason, waiting ones and those in flight."""
        if not rows:
            return
        for row in rows:
            row.finish_reason = reason
        self._flight.leave(rows)
        self._settle(rows)
        self._drop_done()

    def _drop_done(self) -> None:
        with self._queue_lock:
            self._waiting = [row for row in self._waiting if not row.is_done]

    def _admit(self) -> list[WritingRow]:
        """Return the waiting rows that join now, each with its adapter resident and pinned."""
        admission = Admission(self._flight.needs, self._model.token_bytes, self.config)
        for row in self._queued():
            if not admission.has_room:
                break
            is_first = admission.is_alone
            if not is_first and not self._is_at_hand(row):
                continue
            if not admission.fits(row):
                break  # it waits for room, and the younger ones behind it: nobody starves
            adapter = self._load(row, may_wait=not is_first)
            if adapter is not None:
                row.adapter = adapter
                self._pin(row)
                admission.add(row)
            elif not row.is_done and time.monotonic() - row.enqueued_at > self.config.runtime.max_age_s:
                break  # as long as it waits for a slot, no younger row takes one
        with self._queue_lock:
            self._waiting = [row for row in self._waiting if row.adapter is None and not row.is_done]
        return admission.joining

    def _queued(self) -> list[WritingRow]:
        with self._queue_lock:
            return list(self._waiting)

    def _is_at_hand(self, row: WritingRow) -> bool:
        return not row.digest or row.digest in self._model.adapters or self._cache.is_ready(row.digest)

    def _load(self, row: WritingRow, *, may_wait: bool) -> LoadedAdapter | None:
        """Return a row's adapter, resident; None where the row failed, or where it has to wait for a slot."""
        if row.version is None:
            return self._model.bare
        try:
            return self._ensure(row.version)
        except NoRoom as error:
            if not may_wait:  # nothing is in the way: it will not fit later either
                self._fail(row, error)
        except AdapterHubError as error:
            self._fail(row, error)
        except Exception as error:  # a fault of ours: without an end, this row would meet every step to come
            self._fail(row, PassFailed(error))
            raise
        return None

    def _ensure(self, version: Version) -> LoadedAdapter:
        adapters = self._model.adapters
        found = adapters.find(version.digest)
        if found is None:
            started = time.monotonic()
            fetched = self._cache.fetch(version)
            found = adapters.load(fetched.folder, in_use=(), cost_s=fetched.seconds)
            if self.watch:
                self.watch(Moment(LOAD, started, time.monotonic(), digest=version.digest))
        return found

    def _pin(self, row: WritingRow) -> None:
        if row.digest:
            self._model.adapters.pin(row.digest)

    def _unpin(self, row: WritingRow) -> None:
        if row.digest and row.adapter is not None:
            self._model.adapters.unpin(row.digest)
        row.adapter = None

    def _settle(self, ended: Sequence[WritingRow]) -> None:
        for row in ended:
            self._unpin(row)
            self._n_rows += 1

    def _fail(self, row: WritingRow, error: AdapterHubError) -> None:
        row.error = error
        self._n_failures += 1
        self._n_rows += 1

    def _cancel(self, row: WritingRow) -> None:
        with self._lock:
            if not row.is_done:
                self._end([row], CANCELLED)

    def _fail_all(self, error: Exception, joining: Sequence[WritingRow]) -> None:
        """End every row that a broken step may have touched, so that nobody waits for it in vain."""
        with self._queue_lock:
            taken = [row for row in self._waiting if row.adapter is not None]
            self._waiting = [row for row in self._waiting if row.adapter is None and not row.is_done]
        for row in {id(row): row for row in (*self._flight.rows, *joining, *taken)}.values():
            self._unpin(row)
            self._fail(row, PassFailed(error))
        self._flight.clear()
