"""Adapter folders asked for by their path, beside a registry's references: for adapters that are not published yet."""

from dataclasses import dataclass
from pathlib import Path

from adapterhub.adapter.folder import AdapterFolder, VerifiedFiles, read_folder
from adapterhub.adapter.manifest import MANIFEST_FILE
from adapterhub.errors import DataError, InvalidFolder
from adapterhub.files import sha256_of_file, storage_errors
from adapterhub.registry.registry import ReadableRegistry
from adapterhub.registry.resolve import Version
from adapterhub.registry.search import Listings, Query


def is_folder_path(reference: str) -> bool:
    """Say whether a text means a folder rather than an adapter of a registry: `./intents`, `../a`, `/a/b`, `a/b/`.

    No reference begins or ends so.
    """
    return reference.startswith(("./", "../", "/")) or reference.endswith("/")


@dataclass(frozen=True, slots=True)
class WithFolders:
    """A registry that also takes the paths of adapter folders as references.

    A folder is known by the digest that its manifest has when it is asked for: what is written there later is another
    version, and what is read must still have that digest.
    """

    registry: ReadableRegistry

    @property
    def where(self) -> str:
        """The registry's place."""
        return self.registry.where

    def resolve(self, reference: str) -> Version:
        """Return the version that a reference means, or what lies in a folder now.

        Raises DataError where there is no such folder; else as `Registry.resolve`.
        """
        if not is_folder_path(reference):
            return self.registry.resolve(reference)
        folder = Path(reference)
        manifest = folder / MANIFEST_FILE
        if not folder.is_dir():
            raise DataError(f"No such adapter folder: {reference}.",
                            hint="Give the folder that `adapterhub train` wrote.")
        if not manifest.is_file():
            raise InvalidFolder(reference, [f"{MANIFEST_FILE} is missing"],
                                hint="`adapterhub train` writes a folder that is accepted.")
        with storage_errors(folder):
            digest = sha256_of_file(manifest)
            size_bytes = sum(path.stat().st_size for path in folder.iterdir())
        return Version(path=reference, version=0, digest=digest, size_bytes=size_bytes, published_at="",
                       is_yanked=False, place=reference)

    def read(self, reference: str | Version) -> AdapterFolder:
        """Return an adapter's files with every digest compared.

        Raises InvalidFolder where a folder changed since it was resolved; else as `Registry.read`.
        """
        version = self.resolve(reference) if isinstance(reference, str) else reference
        if not is_folder_path(version.path):
            return self.registry.read(version)
        folder = read_folder(Path(version.path))
        if folder.digest != version.digest:
            raise InvalidFolder(version.path, [f"it changed while it was asked for: its digest was "
                                               f"{version.digest[:12]}, now it is {folder.digest[:12]}"],
                                hint="Ask again for what lies there now.")
        return folder

    def confirm(self, version: Version, folder: VerifiedFiles) -> None:
        """Refuse what the registry would refuse; a folder's owner needs no signature."""
        if not is_folder_path(version.path):
            self.registry.confirm(version, folder)

    def list(self) -> Listings:
        """Return every adapter of the registry."""
        return self.registry.list()

    def search(self, query: Query) -> Listings:
        """Return the registry's adapters that a query fits."""
        return self.registry.search(query)
