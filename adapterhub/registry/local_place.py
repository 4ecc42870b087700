"""A folder on a local file system as a store. It appears with the first `create`; until then it reads as empty.

An object is written aside, synced, and only then linked to its name, and the folders above it are synced before
`create` returns: after a power loss a name that is visible has its bytes. A hard link is made or refused in one
step, so of many writers exactly one creates a name.
"""

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from adapterhub.errors import StorageError
from adapterhub.files import storage_error, storage_errors
from adapterhub.registry.entry import Entry

STAGING_FOLDER = ".staged"
"""Objects on their way; what a crash leaves there was never visible."""
_MAX_TRIES = 100


class LocalPlace:
    """Files below one folder. Thread-safe, and safe for any number of processes."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()
        self.place = str(root)
        self._top = str(self.root)
        self._synced: set[str] = set()  # folders whose own entry is known to be on the disk

    def create(self, key: str, data: bytes) -> bool:
        """Write aside, sync, link if absent, sync the folders."""
        path = self._path(key)
        with storage_errors(self.place):
            if os.path.lexists(path):
                return False
            staged = self._write_aside(data)
            try:
                self._link(staged, path)
            except FileExistsError:
                return False
            finally:
                Path(staged).unlink(missing_ok=True)
            self._sync_folders_above(path)
            return True

    def create_files(self, folder: str, files: Mapping[str, bytes]) -> str | None:
        """Create one file after another; those that are there with the same bytes count as created."""
        for name, data in files.items():
            key = f"{folder}/{name}"
            if not self.create(key, data) and self.get(key) != data:
                return key
        return None

    def get(self, key: str) -> bytes | None:
        """Read the whole file. Raises StorageError where it is a link or no plain file."""
        path = self._path(key)
        try:
            return _read_plain_file(path)
        except (FileNotFoundError, NotADirectoryError):
            self._require_folder()
            return None
        except OSError as error:
            raise storage_error(path, error) from error

    def exists(self, key: str) -> bool:
        """Look for the file."""
        with storage_errors(self.place):
            return os.path.isfile(self._path(key))  # noqa: PTH113  # as above

    def keys(self, prefix: str) -> list[str]:
        """List below a folder."""
        return sorted(self._key(entry) for entry in self._files(prefix))

    def entries(self, prefix: str) -> list[Entry]:
        """List below a folder, with sizes and times; links are not followed."""
        found: list[Entry] = []
        for file in self._files(prefix):
            with storage_errors(self.place), contextlib.suppress(FileNotFoundError):  # swept a moment ago
                facts = file.stat(follow_symlinks=False)
                found.append(Entry(key=self._key(file), size_bytes=facts.st_size,
                                   modified_at=datetime.fromtimestamp(facts.st_mtime, tz=UTC)))
        return sorted(found, key=lambda entry: entry.key)

    def folders(self, prefix: str) -> list[str]:
        """List one level."""
        with storage_errors(self.place):
            try:
                with os.scandir(self._path(prefix) if prefix else self._top) as entries:
                    return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
            except (FileNotFoundError, NotADirectoryError):
                self._require_folder()
                return []

    def delete(self, key: str) -> None:
        """Delete one file, and the folders that it leaves empty; only a sweep may."""
        path = Path(self._path(key))
        with storage_errors(self.place):
            path.unlink(missing_ok=True)
            for folder in path.parents:
                if folder == self.root or not _remove_if_empty(folder):
                    return
                self._synced.discard(str(folder))

    def _path(self, key: str) -> str:
        if any(part in ("", ".", "..") for part in key.split("/")) or "\0" in key:
            raise StorageError(f"The key {key!r} leaves {self.place}.", hint="Use the registry's own names.")
        return f"{self._top}/{key}"

    def _write_aside(self, data: bytes) -> str:
        folder = f"{self._top}/{STAGING_FOLDER}"
        Path(folder).mkdir(parents=True, exist_ok=True)
        staged = f"{folder}/{uuid.uuid4().hex}"
        handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(handle, rest):]
            os.fsync(handle)
        except BaseException:
            Path(staged).unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)
        return staged

    def _link(self, staged: str, path: str) -> None:
        """Give a staged file its name, in folders that another process may take away as empty meanwhile.

        Raises FileExistsError where the name is taken.
        """
        folder = Path(path).parent
        for _ in range(_MAX_TRIES):
            with contextlib.suppress(FileNotFoundError):
                os.link(staged, path)
                return
            self._synced.difference_update(map(str, (folder, *folder.parents)))
            with contextlib.suppress(FileNotFoundError, FileExistsError):  # gone again between being made and looked at
                folder.mkdir(parents=True, exist_ok=True)
        raise StorageError(f"{folder} was removed by others {_MAX_TRIES} times in a row.", hint="Try again.")

    def _sync_folders_above(self, path: str) -> None:
        """Sync the folder that got a new entry, and upwards until a folder whose own entry is synced."""
        folder = Path(path).parent
        _sync(folder)
        while folder != self.root.parent and str(folder) not in self._synced:
            self._synced.add(str(folder))
            folder = folder.parent
            _sync(folder)

    def _require_folder(self) -> None:
        with storage_errors(self.place):
            if self.root.exists() and not self.root.is_dir():
                raise StorageError(f"{self.root} is a file, not the folder of a registry.",
                                   hint="Name a folder with --registry.")

    def _key(self, file: os.DirEntry[str]) -> str:
        return file.path[len(self._top) + 1:]

    def _files(self, prefix: str) -> list[os.DirEntry[str]]:
        self._require_folder()
        found: list[os.DirEntry[str]] = []
        with storage_errors(self.place):
            _walk(self._path(prefix) if prefix else self._top, found)
        return found


def _walk(folder: str, found: list[os.DirEntry[str]]) -> None:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    _walk(entry.path, found)
                elif entry.is_file(follow_symlinks=False):
                    found.append(entry)
    except (FileNotFoundError, NotADirectoryError):
        return  # absent, or swept a moment ago


def _remove_if_empty(folder: Path) -> bool:
    """Remove a folder that holds nothing; False where it holds something, True too where somebody was faster."""
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def _read_plain_file(path: str) -> bytes:
    """Read a file in four calls to the system, half of what `open` takes, since an index reads very many."""
    try:
        # a link would lead out of the registry; a pipe would be waited on for ever
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _not_plain(path) from error
        raise
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise _not_plain(path)
        data = os.read(handle, facts.st_size)
        while len(data) < facts.st_size and (more := os.read(handle, facts.st_size - len(data))):
            data += more  # one call reads at most 2 GB
        return data
    finally:
        os.close(handle)


def _not_plain(path: str) -> StorageError:
    return StorageError(f"{path} is not a plain file.", hint="Remove it from the registry.")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
