"""A backup: the registry's objects in one plain tar file, that `tar -x` turns into a registry again."""

import io
import tarfile
from pathlib import Path

from adapterhub.errors import DataError
from adapterhub.files import storage_errors
from adapterhub.registry.entry import Entry
from adapterhub.registry.local_place import STAGING_FOLDER
from adapterhub.registry.stores import Store


def write_backup(store: Store, file: Path) -> int:
    """Write every object into a new tar file, whole or not at all, and return how many.

    Objects are never changed, so a backup of a registry in use is consistent: each version's record is listed
    before its files are read. One object is in memory at a time. Raises DataError where the file exists.
    """
    if file.exists():
        raise DataError(f"{file} exists already.", hint="Name another file, or remove it first.")
    unfinished = file.with_name(f".{file.name}.unfinished")
    with storage_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with tarfile.open(unfinished, "w") as archive:
                count = sum(_add(archive, store, entry) for entry in store.entries("") if not _is_staged(entry))
            unfinished.replace(file)
        finally:
            unfinished.unlink(missing_ok=True)
    return count


def restore_backup(file: Path, store: Store) -> int:
    """Create every object of a backup that is not there yet, and return how many were new.

    Raises DataError where it is no backup, or where an object is there with other bytes.
    """
    with storage_errors(file):
        if not file.is_file():
            raise DataError(f"No such backup: {file}.", hint="Give the file that `adapterhub backup` wrote.")
        try:
            with tarfile.open(file) as archive:
                members = sorted(archive.getmembers(), key=_order)
                return sum(_restore(archive, member, store) for member in members)
        except tarfile.TarError as error:
            raise DataError(f"{file} is no whole backup: {error}.", hint="Take another copy of it.") from error


def _add(archive: tarfile.TarFile, store: Store, entry: Entry) -> bool:
    data = store.get(entry.key)
    if data is None:  # swept since it was listed
        return False
    member = tarfile.TarInfo(entry.key)
    member.size, member.mtime, member.mode = len(data), int(entry.modified_at.timestamp()), 0o644
    archive.addfile(member, io.BytesIO(data))
    return True


def _restore(archive: tarfile.TarFile, member: tarfile.TarInfo, store: Store) -> bool:
    if member.isdir():
        return False
    stream = archive.extractfile(member) if member.isfile() else None
    if stream is None:
        raise DataError(f"The backup holds {member.name}, which is no plain file.", hint="Take another copy of it.")
    data = stream.read()
    is_new = store.create(member.name, data)
    if not is_new and store.get(member.name) != data:
        raise DataError(f"{member.name} is in {store.place} with other bytes than in the backup.",
                        hint="Restore into an empty place.")
    return is_new


def _order(member: tarfile.TarInfo) -> tuple[bool, bool]:
    """As in publishing: files, then what makes a version visible, then what points to it."""
    return "/aliases/" in member.name, member.name.endswith("/version.json")


def _is_staged(entry: Entry) -> bool:
    return entry.key.startswith(f"{STAGING_FOLDER}/")
