"""A registry that gives a few folders under any number of names, each name as an adapter of its own.

A thousand adapters then cost no thousand folders on disk: each has its own digest, its own slot and its own copy of
the tensors, and only their values repeat. Every read reads the files and compares their digests.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from adapterhub.adapter.folder import AdapterFolder, VerifiedFiles, read_folder
from adapterhub.files import sha256_of_bytes
from adapterhub.registry import ReadableRegistry, Version
from adapterhub.registry.search import Listings, Query

NAMESPACE = "many"


def name_of(number: int) -> str:
    """Return the reference of the adapter of this number."""
    return f"{NAMESPACE}/adapter-{number}"


class ManyAdapters:
    """`many/adapter-0`, `many/adapter-1`, ... from a few folders; other names are another registry's."""

    def __init__(self, folders: Sequence[Path], behind: ReadableRegistry | None = None) -> None:
        self._folders = folders
        self._known = [read_folder(folder) for folder in folders]
        self._behind = behind

    @property
    def where(self) -> str:
        """Where the adapters are."""
        return str(self._folders[0].parent)

    def resolve(self, reference: str) -> Version:
        """Return the version that a name means."""
        if not reference.startswith(NAMESPACE + "/"):
            return self._other().resolve(reference)
        known = self._known[_number(reference) % len(self._known)]
        return Version(path=reference, version=1, digest=_digest(reference), published_at="", is_yanked=False,
                       size_bytes=sum(map(len, known.files.values())), place=self.where)

    def read(self, reference: str | Version) -> AdapterFolder:
        """Return an adapter's files."""
        path = reference.path if isinstance(reference, Version) else reference
        if not path.startswith(NAMESPACE + "/"):
            return self._other().read(reference)
        folder = read_folder(self._folders[_number(path) % len(self._folders)])
        return replace(folder, digest=_digest(path))

    def confirm(self, version: Version, folder: VerifiedFiles) -> None:
        """Let every version pass: nobody signs these, and no policy asks."""

    def list(self) -> Listings:
        """Names are not counted."""
        return []

    def search(self, query: Query) -> Listings:
        """Names are not counted."""
        return []

    def _other(self) -> ReadableRegistry:
        assert self._behind is not None, "only names of this registry are asked for"
        return self._behind


def _number(reference: str) -> int:
    return int(reference.rpartition("-")[2])


def _digest(reference: str) -> str:
    return sha256_of_bytes(reference.encode())
