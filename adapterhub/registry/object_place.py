"""A bucket, or memory for tests, as a store: the provider's put-if-absent is `create`."""

from collections.abc import Mapping

import obstore
from obstore import exceptions
from obstore.store import ObjectStore

from adapterhub.registry.entry import Entry
from adapterhub.registry.foreign_errors import foreign_errors, is_missing_bucket


class ObjectPlace:
    """Objects behind obstore. Thread-safe."""

    root = None

    def __init__(self, store: ObjectStore, place: str) -> None:
        self._store, self.place = store, place

    def create(self, key: str, data: bytes) -> bool:
        """Put if absent; durable when the provider has answered."""
        with foreign_errors(self.place):
            try:
                obstore.put(self._store, key, data, mode="create", use_multipart=False)
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                return False
            return True

    def create_files(self, folder: str, files: Mapping[str, bytes]) -> str | None:
        """Create one object after another; those that are there with the same bytes count as created."""
        for name, data in files.items():
            key = f"{folder}/{name}"
            if not self.create(key, data) and self.get(key) != data:
                return key
        return None

    def get(self, key: str) -> bytes | None:
        """Read the whole object."""
        with foreign_errors(self.place):
            try:
                return bytes(obstore.get(self._store, key).bytes())
            except FileNotFoundError as error:
                if is_missing_bucket(error):
                    raise
                return None

    def exists(self, key: str) -> bool:
        """Ask for the object's head."""
        with foreign_errors(self.place):
            try:
                obstore.head(self._store, key)
            except FileNotFoundError:
                return False
            return True

    def keys(self, prefix: str) -> list[str]:
        """List below a folder."""
        return [entry.key for entry in self.entries(prefix)]

    def entries(self, prefix: str) -> list[Entry]:
        """List below a folder, with sizes and times."""
        with foreign_errors(self.place):
            return sorted((Entry(key=found["path"], size_bytes=found["size"], modified_at=found["last_modified"])
                           for batch in obstore.list(self._store, prefix or None) for found in batch),
                          key=lambda entry: entry.key)

    def folders(self, prefix: str) -> list[str]:
        """List one level."""
        with foreign_errors(self.place):
            found = obstore.list_with_delimiter(self._store, prefix or None)["common_prefixes"]
            return sorted(folder.rstrip("/").rpartition("/")[2] for folder in found)

    def delete(self, key: str) -> None:
        """Delete one object; only a sweep may."""
        with foreign_errors(self.place):
            try:
                obstore.delete(self._store, key)
            except FileNotFoundError:
                return
