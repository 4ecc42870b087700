"""Files written whole or not at all, and their hashes. It does not know what is in them."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adapterhub.errors import DataError, StorageError

CHUNK_BYTES = 1 << 20


def sha256_of_bytes(data: bytes) -> str:
    """Return the SHA-256 of `data` as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits, reading 1 MiB at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def canonical_json(value: Any) -> bytes:
    """Return `value` as JSON with sorted keys, two spaces and a final line break: one value, one text."""
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path` by a synced temporary file and a rename; a crash leaves the old file whole.

    Raises StorageError where the place cannot be written (no space, no permission).
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


@contextmanager
def folder_written_whole(folder: Path) -> Iterator[Path]:
    """Yield a temporary sibling folder that becomes `folder` when the block ends without an error.

    Raises DataError where `folder` exists and is not empty; StorageError as `write_atomic`.
    """
    with storage_errors(folder):
        require_free(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            yield temporary
            for path in temporary.rglob("*"):
                path.chmod(0o755 if path.is_dir() else 0o644)  # safetensors makes its files private
            sync_tree(temporary)
            if folder.is_dir():
                folder.rmdir()
            temporary.replace(folder)
            folder.chmod(0o755)  # mkdtemp makes it private
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def require_free(folder: Path) -> None:
    """Raise DataError where `folder` is a file, or holds something already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} exists already.", hint="Name another folder, or remove it first.")


def sync_tree(folder: Path) -> None:
    """Flush every file below `folder`, and the folders themselves, to the disk."""
    for path in [*folder.rglob("*"), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def storage_errors(place: object) -> Iterator[None]:
    """Turn an OSError of this block into a StorageError that names `place`."""
    try:
        yield
    except OSError as error:
        raise storage_error(place, error) from error


def storage_error(place: object, error: OSError) -> StorageError:
    """Return the StorageError that says in one sentence what the operating system refused."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(f"No space left on the device for {place}; nothing was kept.",
                            hint="Free some space, or choose another place.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(f"{place} cannot be read or written: {error.strerror}.",
                            hint="Choose a place you may use, for instance with --output or --registry.")
    return StorageError(f"{place} cannot be used: {error.strerror or error}.",
                        hint="Check the path and try again.")


def read_json(path: Path) -> Any:
    """Return a JSON file's value. Raises DataError where it is absent or is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"No such file: {path}.") from error
    except (ValueError, RecursionError, OSError) as error:
        raise DataError(f"{path} is not readable JSON: {error}.") from error
