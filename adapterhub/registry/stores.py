"""Places that hold create-once objects: a local folder, S3, GCS, Azure or the Hugging Face Hub, behind one protocol.

The one primitive is `create`. It knows keys and bytes, nothing of adapters.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from obstore.store import MemoryStore

from adapterhub.errors import UnknownName
from adapterhub.registry.clouds import CLOUD_SCHEMES, open_cloud
from adapterhub.registry.entry import Entry
from adapterhub.registry.foreign_errors import foreign_errors
from adapterhub.registry.local_place import LocalPlace
from adapterhub.registry.object_place import ObjectPlace


class Store(Protocol):
    """A place of objects that are created once and never changed."""

    @property
    def place(self) -> str:
        """The place as a person would write it."""

    @property
    def root(self) -> Path | None:
        """The folder of a local place, else None."""

    def create(self, key: str, data: bytes) -> bool:
        """Create an object whole and durably; False, and nothing done, where the key is taken."""

    def create_files(self, folder: str, files: Mapping[str, bytes]) -> str | None:
        """Create the files of one folder; return the key that is taken by other bytes, None where all went well."""

    def get(self, key: str) -> bytes | None:
        """Return an object's bytes, None where there is none."""

    def exists(self, key: str) -> bool:
        """Say whether there is an object."""

    def keys(self, prefix: str) -> list[str]:
        """Return the keys of all objects below the folder `prefix`, sorted."""

    def entries(self, prefix: str) -> list[Entry]:
        """Return all objects below the folder `prefix`, sorted by key."""

    def folders(self, prefix: str) -> list[str]:
        """Return the names of the folders right below the folder `prefix`, sorted."""

    def delete(self, key: str) -> None:
        """Delete an object that never became visible; nothing happens where there is none."""


def open_store(place: str | Path) -> Store:
    """Open a path, `file://`, `s3://`, `gs://`, `az://`, `hf://` or `memory://`; nothing is created by it.

    Raises UnknownName for another scheme; StorageError where the address or its settings do not do.
    """
    scheme, separator, _ = str(place).partition("://")
    if isinstance(place, Path) or not separator:
        return LocalPlace(Path(place))
    if scheme == "file":
        return LocalPlace(Path(unquote(urlsplit(place).path)))
    if scheme == "memory":
        return ObjectPlace(MemoryStore(), place)
    if scheme == "hf":
        from adapterhub.registry.hugging_face import open_hub  # huggingface-hub's client takes half a second to import

        return open_hub(place)
    if scheme not in CLOUD_SCHEMES:
        raise UnknownName("registry address", scheme, ("a path", "file", "hf", *CLOUD_SCHEMES))
    with foreign_errors(place):
        return ObjectPlace(open_cloud(place), place)
