"""One model repo on the Hugging Face Hub, through huggingface-hub's own client: refs, trees, files, commits, tags.

Whatever is read is read by commit, never by a name that may move. It knows no adapters, and leaves the client's
errors to hugging_face_errors.py.
"""

import hashlib
import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

from adapterhub.errors import StorageError
from adapterhub.files import sha256_of_bytes

MAIN = "main"
FRESH_S = 1.0
"""Reads within so many seconds share one look at branches and tags; writes, and what decides on them, look anew."""
_MAX_TREES = 64
"""Listings in memory; a commit's never changes."""
_MAX_TRIES = 200
_MAX_WAIT_S = 2.0
_OVERTAKEN = (409, 412)
"""The Hub's answers to a commit whose parent is not the branch's head any more."""

Tree = Mapping[str, RepoFile]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refs:
    """Where a repo's branches and tags are: name -> commit."""

    branches: dict[str, str]
    tags: dict[str, str]


class ModelRepo:
    """A repo that need not exist. Thread-safe."""

    def __init__(self, api: HfApi, name: str) -> None:
        """Take `organisation/name`; no request is sent."""
        self.name = name
        self._api = api
        self._trees: dict[tuple[str, bool], Tree] = {}
        self._lock = threading.Lock()  # guards what was seen, and how often this place wrote
        self._seen: tuple[float, Refs | None] = (-FRESH_S, None)
        self._n_writes = 0

    def refs(self) -> Refs | None:
        """Return where branches and tags are, or were up to a second ago; None where there is no such repo."""
        at, refs = self._seen
        return refs if time.monotonic() - at < FRESH_S else self.look_again()

    def look_again(self) -> Refs | None:
        """Ask where branches and tags are now; None where there is no such repo, or a stranger may not know of it."""
        at, n_writes = time.monotonic(), self._n_writes
        try:
            found = self._api.list_repo_refs(self.name)
        except RepositoryNotFoundError as error:
            if error.response.status_code != 404 and not (error.response.status_code == 401 and get_token() is None):
                raise
            refs = None
        else:
            refs = Refs(branches={ref.name: ref.target_commit for ref in found.branches},
                        tags={ref.name: ref.target_commit for ref in found.tags})
        with self._lock:
            if n_writes == self._n_writes:  # else this look may be older than a write of this very process
                self._seen = (at, refs)
        return refs

    def make(self) -> Refs:
        """Make the repo if it is absent, under the organisation's own choice of who may see it."""
        self._api.create_repo(self.name, exist_ok=True)
        refs = self.look_again()
        assert refs is not None, "the repo was made a moment ago"
        return refs

    def branch(self, name: str, commit: str) -> None:
        """Make a branch if it is absent."""
        self._api.create_branch(self.name, branch=name, revision=commit, exist_ok=True)
        self._forget_refs()

    def files(self, commit: str, *, is_dated: bool = False) -> Tree:
        """Return every file of a commit by path; with the commit that wrote it where dates are asked for."""
        tree = self._trees.get((commit, is_dated))
        if tree is None:
            listed = self._api.list_repo_tree(self.name, recursive=True, revision=commit, expand=is_dated)
            tree = {entry.path: entry for entry in listed if isinstance(entry, RepoFile)}
            if len(self._trees) >= _MAX_TREES:
                self._trees = {}
            self._trees[commit, is_dated] = tree
        return tree

    def read(self, commit: str, file: str) -> bytes | None:
        """Return a file as of a commit, through the client's cache; None where that commit has none.

        What the cache holds is compared with the listing, which the client does not do, and fetched anew if it differs.
        """
        facts = self.files(commit).get(file)
        if facts is None:
            return None
        data = self._fetched(commit, file)
        return data if is_same(facts, data) else self._fetched(commit, file, is_anew=True)

    def commit(self, branch: str, parent: str, message: str, files: Mapping[str, bytes | None]) -> str | None:
        """Write files, or delete those that are None, in one commit right after `parent`; None where overtaken."""
        operations = [CommitOperationDelete(file) if data is None else CommitOperationAdd(file, data)
                      for file, data in files.items()]
        try:
            with _without_bars():
                made = self._api.create_commit(self.name, operations, commit_message=message, revision=branch,
                                               parent_commit=parent)
        except HfHubHTTPError as error:
            if error.response.status_code not in _OVERTAKEN:
                raise
            return None
        finally:
            self._forget_refs()
        return str(made.oid)

    def tag(self, name: str, commit: str) -> bool:
        """Create a tag; False where there is one of that name."""
        try:
            self._api.create_tag(self.name, tag=name, revision=commit)
        except HfHubHTTPError as error:
            if error.response.status_code != 409:
                raise
            return False
        finally:
            self._forget_refs()
        return True

    def untag(self, name: str) -> None:
        """Delete a tag; nothing happens where there is none."""
        try:
            self._api.delete_tag(self.name, tag=name)
        except HfHubHTTPError as error:
            if error.response.status_code != 404:
                raise
        finally:
            self._forget_refs()

    def _fetched(self, commit: str, file: str, *, is_anew: bool = False) -> bytes:
        with _without_bars():
            path = self._api.hf_hub_download(self.name, file, revision=commit, force_download=is_anew)
        return Path(path).read_bytes()

    def _forget_refs(self) -> None:
        with self._lock:
            self._n_writes += 1
            self._seen = (-FRESH_S, None)


def is_same(file: RepoFile | None, data: bytes) -> bool:
    """Say whether the Hub's listing shows exactly these bytes: by SHA-256 of a large file, by git's SHA-1 of a small.

    Whoever could forge the latter is found by the digests that the registry compares when it reads.
    """
    if file is None or file.size != len(data):
        return False
    if file.lfs is not None:
        return bool(file.lfs.sha256 == sha256_of_bytes(data))
    return file.blob_id == hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def attempts(place: str) -> Iterator[int]:
    """Count tries of what others may overtake, waiting longer after each. Raises StorageError after the last."""
    for number in range(_MAX_TRIES):
        yield number
        time.sleep(random.uniform(0, min(_MAX_WAIT_S, 0.02 * 2**min(number, 10))))  # noqa: S311  # no secret
    raise StorageError(f"{place} was written by others {_MAX_TRIES} times in a row.", hint="Try again later.")


@contextmanager
def _without_bars() -> Iterator[None]:
    """Hold back the client's progress bars: a registry's objects are many and small. The environment may force them."""
    is_free = constants.HF_HUB_DISABLE_PROGRESS_BARS is None and not are_progress_bars_disabled()
    if is_free:
        disable_progress_bars()
    try:
        yield
    finally:
        if is_free:
            enable_progress_bars()
