"""The tiers between a registry and the slots: verified files on this disk, then in memory, each within its bytes.

Everything is kept by content digest. It knows no tensors.
"""

import contextlib
import shutil
import threading
import time
from collections.abc import Iterable
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from adapterhub.adapter.folder import FOLDER_FILES, AdapterFolder, read_folder
from adapterhub.errors import AdapterHubError
from adapterhub.files import folder_written_whole
from adapterhub.registry import ReadableRegistry, Version
from adapterhub.runtime.eviction import GreedyDual


@dataclass(frozen=True, slots=True)
class Fetched:
    """One adapter's verified files, and what it took to get them."""

    folder: AdapterFolder
    seconds: float


class AdapterCache:
    """Fetches adapters through its tiers, ahead and in the background where asked. Thread-safe."""

    def __init__(self, registry: ReadableRegistry, *, host_bytes: int, disk_bytes: int, disk: Path,
                 n_fetchers: int) -> None:
        self._registry, self._host_bytes, self._disk_bytes, self._disk = registry, host_bytes, disk_bytes, disk
        self._host: dict[str, Fetched] = {}
        self._host_worth = GreedyDual()
        self._under_way: dict[str, Future[Fetched]] = {}
        self._threads = ThreadPoolExecutor(n_fetchers, thread_name_prefix="adapterhub-fetch")
        self._lock = threading.Lock()  # guards the four tables above and the counts below
        self.n_host_hits = self.n_disk_hits = self.n_registry_reads = self.n_failures = 0

    @property
    def host_bytes(self) -> int:
        """Memory of files held."""
        return self._host_worth.size_bytes

    def fetch(self, version: Version) -> Fetched:
        """Return a version's verified files, from the nearest tier. Raises as `ReadableRegistry.read`."""
        with self._lock:
            if found := self._held(version.digest):
                return found
            under_way = self._under_way.get(version.digest)
        return under_way.result() if under_way else self._fetch(version)

    def fetch_ahead(self, version: Version) -> None:
        """Begin to fetch in the background; a failure is told to who then asks by `fetch`."""
        with self._lock:
            if version.digest in self._host or version.digest in self._under_way:
                return
            self._under_way[version.digest] = self._threads.submit(self._fetch, version)

    def is_ready(self, digest: str) -> bool:
        """Say whether `fetch` would not wait for a fetch that is under way."""
        with self._lock:
            under_way = self._under_way.get(digest)
            return under_way is None or under_way.done()

    def wait(self, digests: Iterable[str], timeout_s: float) -> None:
        """Wait until these are at hand, or the time is over."""
        with self._lock:
            under_way = [self._under_way[digest] for digest in digests if digest in self._under_way]
        if under_way:
            futures.wait(under_way, timeout=timeout_s)

    def close(self) -> None:
        """End the background threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _held(self, digest: str) -> Fetched | None:
        found = self._host.get(digest)
        if found:
            self._host_worth.touch(digest)
            self.n_host_hits += 1
        return found

    def _fetch(self, version: Version) -> Fetched:
        started = time.perf_counter()
        try:
            folder = self._read(version)
        except BaseException:
            with self._lock:
                self._under_way.pop(version.digest, None)
                self.n_failures += 1
            raise
        fetched = Fetched(folder, time.perf_counter() - started)
        with self._lock:
            self._under_way.pop(version.digest, None)
            self._keep(version.digest, fetched)
        return fetched

    def _keep(self, digest: str, fetched: Fetched) -> None:
        size_bytes = sum(map(len, fetched.folder.files.values()))
        if size_bytes > self._host_bytes:
            return
        self._host[digest] = fetched
        self._host_worth.add(digest, size_bytes=size_bytes, cost_s=fetched.seconds)
        while self._host_worth.size_bytes > self._host_bytes:
            victim = self._host_worth.choose(kept=(digest,))
            assert victim is not None, "what is too large alone was not kept"
            self._host_worth.remove(victim)
            del self._host[victim]

    def _read(self, version: Version) -> AdapterFolder:
        if self._disk_bytes == 0 or Path(version.place).is_dir():  # a registry on this disk is its own tier
            with self._lock:
                self.n_registry_reads += 1
            return self._registry.read(version)
        place = self._disk / version.digest
        if place.is_dir():
            try:
                folder = read_folder(place)
            except AdapterHubError:
                shutil.rmtree(place, ignore_errors=True)  # damaged since: taken from the registry again
            else:
                if folder.digest == version.digest:
                    self._registry.confirm(version, folder)
                    place.touch()
                    with self._lock:
                        self.n_disk_hits += 1
                    return folder
        with self._lock:
            self.n_registry_reads += 1
        folder = self._registry.read(version)
        self._keep_on_disk(folder, place)
        return folder

    def _keep_on_disk(self, folder: AdapterFolder, place: Path) -> None:
        size_bytes = sum(map(len, folder.files.values()))
        if size_bytes > self._disk_bytes:
            return
        with contextlib.suppress(AdapterHubError, OSError):  # a full disk costs time, not answers
            with folder_written_whole(place) as temporary:
                for name in FOLDER_FILES:
                    (temporary / name).write_bytes(folder.files[name])
            self._trim_disk(kept=place)

    def _trim_disk(self, kept: Path) -> None:
        """Remove the folders used longest ago until the rest fits."""
        folders = [path for path in self._disk.iterdir() if path.is_dir()]
        folders.sort(key=lambda path: path.stat().st_mtime)
        sizes = {path: sum(file.stat().st_size for file in path.iterdir()) for path in folders}
        total = sum(sizes.values())
        for path in folders:
            if total <= self._disk_bytes:
                return
            if path != kept:
                shutil.rmtree(path, ignore_errors=True)
                total -= sizes[path]
