"""Places that hold create-once objects: a local folder, S3, GCS or Azure, through obstore alone.

The one primitive is `create`. It knows keys and bytes, nothing of adapters.
"""

import os
import re
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import obstore
from obstore import exceptions
from obstore.store import LocalStore, MemoryStore, ObjectStore, from_url

from adapterhub.errors import StorageError, UnknownName
from adapterhub.files import storage_error, storage_errors

CLOUD_SCHEMES = ("s3", "s3a", "gs", "az", "abfs", "abfss")
STAGING_FOLDER = ".staged"
"""Objects on their way into a local place; what a crash leaves there was never visible."""
_runtime_owner: list[int] = []
"""The process that obstore started its threads in, at its first use; they do not survive a fork."""
_OS_ERROR = re.compile(r"\(os error (\d+)\)")


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

    def get(self, key: str) -> bytes | None:
        """Return an object's bytes, None where there is none."""

    def exists(self, key: str) -> bool:
        """Say whether there is an object."""

    def keys(self, prefix: str) -> list[str]:
        """Return the keys of all objects below the folder `prefix`, sorted."""

    def folders(self, prefix: str) -> list[str]:
        """Return the names of the folders right below the folder `prefix`, sorted."""


def open_store(place: str | Path) -> Store:
    """Open a path, `file://`, `s3://`, `gs://`, `az://` or `memory://`; nothing is created by it.

    Raises UnknownName for another scheme; StorageError where the address or its settings do not do.
    """
    scheme, separator, _ = str(place).partition("://")
    if isinstance(place, Path) or not separator:
        return LocalPlace(Path(place))
    if scheme == "file":
        return LocalPlace(Path(unquote(urlsplit(place).path)))
    if scheme == "memory":
        return ObjectPlace(MemoryStore(), place)
    if scheme not in CLOUD_SCHEMES:
        raise UnknownName("registry address", scheme, ("a path", "file", *CLOUD_SCHEMES))
    with _foreign_errors(place):
        return ObjectPlace(from_url(place), place)


class ObjectPlace:
    """A bucket, or memory for tests: the provider's put-if-absent is `create`."""

    root = None

    def __init__(self, store: ObjectStore, place: str) -> None:
        self._store, self.place = store, place

    def create(self, key: str, data: bytes) -> bool:
        """Put if absent; durable when the provider has answered."""
        with _foreign_errors(self.place):
            try:
                obstore.put(self._store, key, data, mode="create")
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                return False
            return True

    def get(self, key: str) -> bytes | None:
        """Read the whole object."""
        return _get(self._store, key, self.place)

    def exists(self, key: str) -> bool:
        """Ask for the object's head."""
        return _exists(self._store, key, self.place)

    def keys(self, prefix: str) -> list[str]:
        """List below a folder."""
        return _keys(self._store, prefix, self.place)

    def folders(self, prefix: str) -> list[str]:
        """List one level."""
        return _folders(self._store, prefix, self.place)


class LocalPlace:
    """A folder on a local file system. It appears with the first `create`; until then it reads as empty.

    obstore's own create is atomic here (a hard link) but syncs nothing, so a power loss could leave a
    visible name over lost bytes. Therefore an object is written aside, synced, and only then linked to
    its name, and the folders above it are synced before `create` returns.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()
        self.place = str(root)
        self._synced: set[Path] = set()  # folders whose own entry is known to be on the disk

    def create(self, key: str, data: bytes) -> bool:
        """Write aside, sync, link if absent, sync the folders."""
        staged = f"{STAGING_FOLDER}/{uuid.uuid4().hex}"
        with _foreign_errors(self.place):
            (self.root / STAGING_FOLDER).mkdir(parents=True, exist_ok=True)
            store = LocalStore(self.root)
            try:
                obstore.put(store, staged, data)
                _sync(self.root / staged)
                obstore.copy(store, staged, key, overwrite=False)
            except exceptions.AlreadyExistsError:
                return False
            finally:
                (self.root / staged).unlink(missing_ok=True)
            self._sync_folders_above(self.root / key)
            return True

    def get(self, key: str) -> bytes | None:
        """Read the whole file. Raises StorageError where it is a link or no plain file."""
        store = self._existing()
        if store is None:
            return None
        with storage_errors(self.root / key):
            try:
                mode = (self.root / key).lstat().st_mode
            except (FileNotFoundError, NotADirectoryError):
                return None
        if not stat.S_ISREG(mode):  # a link leads out of the registry, a pipe would be waited on for ever
            raise StorageError(f"{self.root / key} is not a plain file.", hint="Remove it from the registry.")
        return _get(store, key, self.place)

    def exists(self, key: str) -> bool:
        """Look for the file."""
        with _foreign_errors(self.place):
            return (self.root / key).is_file()

    def keys(self, prefix: str) -> list[str]:
        """List below a folder."""
        store = self._existing()
        return _keys(store, prefix, self.place) if store else []

    def folders(self, prefix: str) -> list[str]:
        """List one level."""
        store = self._existing()
        return _folders(store, prefix, self.place) if store else []

    def _existing(self) -> LocalStore | None:
        with _foreign_errors(self.place):
            if not self.root.exists():
                return None
            if not self.root.is_dir():
                raise StorageError(f"{self.root} is a file, not the folder of a registry.",
                                   hint="Name a folder with --registry.")
            return LocalStore(self.root)

    def _sync_folders_above(self, path: Path) -> None:
        """Sync the folder that got a new entry, and upwards until a folder whose own entry is synced."""
        folder = path.parent
        _sync(folder)
        while folder != self.root.parent and folder not in self._synced:
            self._synced.add(folder)
            folder = folder.parent
            _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _get(store: ObjectStore, key: str, place: str) -> bytes | None:
    with _foreign_errors(place):
        try:
            return bytes(obstore.get(store, key).bytes())
        except FileNotFoundError:
            return None


def _exists(store: ObjectStore, key: str, place: str) -> bool:
    with _foreign_errors(place):
        try:
            obstore.head(store, key)
        except FileNotFoundError:
            return False
        return True


def _keys(store: ObjectStore, prefix: str, place: str) -> list[str]:
    with _foreign_errors(place):
        return sorted(entry["path"] for batch in obstore.list(store, prefix or None) for entry in batch)


def _folders(store: ObjectStore, prefix: str, place: str) -> list[str]:
    with _foreign_errors(place):
        found = obstore.list_with_delimiter(store, prefix or None)["common_prefixes"]
        return sorted(folder.rstrip("/").rpartition("/")[2] for folder in found)


@contextmanager
def _foreign_errors(place: str) -> Iterator[None]:
    """Turn obstore's and the system's errors of this block into a StorageError that names `place`."""
    _require_own_runtime(place)
    try:
        yield
    except OSError as error:
        raise storage_error(place, _with_number(error)) from error
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise StorageError(f"{place} refused the credentials ({_first_line(error)}).",
                           hint="Check the account and its rights on that place.") from error
    except (exceptions.BaseError, ValueError) as error:
        if number := _os_error_number(error):
            raise storage_error(place, OSError(number, os.strerror(number))) from error
        raise StorageError(f"{place} cannot be used: {_first_line(error)}.",
                           hint="Check the address, the account's settings and the network.") from error


def _require_own_runtime(place: str) -> None:
    """Refuse what obstore would wait on for ever: its threads are in the process that this one was forked from."""
    if not _runtime_owner:
        _runtime_owner.append(os.getpid())
    if _runtime_owner[0] != os.getpid():
        raise StorageError(f"{place} cannot be used here: this process was forked after a registry was in use.",
                           hint="Start processes with the method 'spawn', or fork before the first use.")


def _with_number(error: OSError) -> OSError:
    """Find the number where obstore raises PermissionError and the like without one: in its text."""
    number = error.errno or _os_error_number(error)
    return OSError(number, os.strerror(number)) if number else error


def _os_error_number(error: Exception) -> int | None:
    found = _OS_ERROR.search(str(error))
    return int(found.group(1)) if found else None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
