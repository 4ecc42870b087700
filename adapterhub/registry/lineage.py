"""Where a version comes from: its parents and theirs, as far as registries at hand hold them; and what was made of it.

It reads manifests, no tensors.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from adapterhub.adapter.manifest import MANIFEST_FILE, Manifest, Metric, parse_manifest
from adapterhub.adapter.reference import Reference
from adapterhub.errors import AdapterNotFound, InvalidFolder, InvalidReference
from adapterhub.files import sha256_of_bytes
from adapterhub.registry import layout
from adapterhub.registry.chain import Registries
from adapterhub.registry.index import SearchIndex, index_file
from adapterhub.registry.registry import Registry
from adapterhub.registry.resolve import Version

_ACTIONS = {"merge": "merged from", "convert": "converted from"}
_CONTINUED = "continued from"
MOST_GENERATIONS = 100
"""Told in one tree; who wants older ones asks for the tree of the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """One adapter of a tree, with what it was made of."""

    reference: str
    """`namespace/name@3`; what the child wrote where no registry has it."""
    relation: str
    """What its child says of it: `continued from`, `merged from`, `converted from`; empty at the root."""
    weight: float | None
    """In a merge."""
    version: Version | None
    """None where it is not in these registries."""
    manifest: Manifest | None
    note: str
    """Why nothing is below it, in words: not here, damaged, or told further up."""
    parents: tuple["Lineage", ...]

    @property
    def metric(self) -> Metric | None:
        """The first figure on the test split, else the first at all."""
        metrics = self.manifest.metrics if self.manifest else []
        return next((metric for metric in metrics if metric.split == "test"), next(iter(metrics), None))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mention:
    """How a child names a parent."""

    reference: str
    relation: str = ""
    weight: float | None = None
    child_path: str = ""
    """`namespace/name` of the child: where a bare digest is looked for first."""


def lineage(registries: Registries, reference: str) -> Lineage:
    """Return a version with its parents, and theirs; each is told once, however many were made of it.

    Raises AdapterNotFound, InvalidReference, InvalidFolder for the version itself; of its ancestors they are notes.
    """
    version = registries.resolve(reference)
    manifest = _manifest(registries, version)
    return _grown(registries, _Mention(reference=version.reference), version, manifest, {version.digest}, 0)


def children(registries: Registries, version: Version, cache: Path) -> tuple[Version, ...]:
    """Return the versions that name this one as a parent: of its own name all, of other names the latest.

    Raises StorageError where no index can be made.
    """
    own = [other for other in registries.versions(version.path) if _is_child(registries, other, version.digest)]
    others = [child for registry in registries.members for path in _indexed(registry, version.digest, cache)
              if path != version.path and (child := _latest(registry, path))]
    return (*own, *others)


def _grown(registries: Registries, mention: _Mention, version: Version, manifest: Manifest,
           told: set[str], generation: int) -> Lineage:
    parents = tuple(_found(registries, parent, told, generation + 1) for parent in _mentions(manifest, version.path))
    return Lineage(reference=version.reference, relation=mention.relation, weight=mention.weight, version=version,
                   manifest=manifest, note="", parents=parents)


def _found(registries: Registries, mention: _Mention, told: set[str], generation: int) -> Lineage:
    """Look a parent up, and go on above it; `told` grows by every digest that was met."""
    try:
        version = _resolve(registries, mention)
        if version is None:
            return _leaf(mention, "not in this registry")
        if version.digest in told:
            return _leaf(mention, "as above", version)
        if generation > MOST_GENERATIONS:
            return _leaf(mention, "older ones: ask for its own tree", version)
        told.add(version.digest)
        return _grown(registries, mention, version, _manifest(registries, version), told, generation)
    except (AdapterNotFound, InvalidReference):
        return _leaf(mention, "not in this registry")
    except InvalidFolder as error:
        return _leaf(mention, f"damaged: {error.faults[0]}")


def _leaf(mention: _Mention, note: str, version: Version | None = None) -> Lineage:
    return Lineage(reference=version.reference if version else mention.reference, relation=mention.relation,
                   weight=mention.weight, version=version, manifest=None, note=note, parents=())


def _mentions(manifest: Manifest, path: str) -> Iterator[_Mention]:
    how = manifest.combination
    weights = how.weights if how and how.action == "merge" else []
    for number, parent in enumerate(manifest.parents):
        yield _Mention(reference=parent, relation=_ACTIONS.get(how.action, how.action) if how else _CONTINUED,
                       weight=weights[number] if number < len(weights) else None, child_path=path)


def _resolve(registries: Registries, mention: _Mention) -> Version | None:
    """Find a parent by its reference, or by its digest alone: under its child's name first, then under any."""
    if not mention.reference.startswith("sha256:"):
        return registries.resolve(mention.reference)
    digest = Reference.parse(f"{mention.child_path}@{mention.reference}").digest
    near = ((registry, mention.child_path) for registry in registries.members)
    far = ((registry, path) for registry in registries.members for path in registry.paths())
    return next((version for registry, path in chain(near, far) for version in _versions(registry, path)
                 if version.digest == digest), None)


def _versions(registry: Registry, path: str) -> list[Version]:
    """Return a name's versions; none where a record of it is damaged, which hides no other name's."""
    try:
        return registry.versions(path)
    except InvalidFolder:
        return []


def _manifest(registries: Registries, version: Version) -> Manifest:
    """Read a version's manifest, its digest compared. Raises InvalidFolder."""
    holder = next(registry for registry in registries.members if registry.where == version.place)
    data = holder.store.get(layout.file_key(version.path, version.version, MANIFEST_FILE)) or b""
    if sha256_of_bytes(data) != version.digest:
        raise InvalidFolder(version.reference, [f"the digest of {MANIFEST_FILE} does not match"])
    return parse_manifest(data, version.reference)


def _is_child(registries: Registries, version: Version, digest: str) -> bool:
    """Say whether a version names another as its parent; a damaged one names nobody, and `verify` tells of it."""
    try:
        parents = _manifest(registries, version).parents
    except InvalidFolder:
        return False
    return any(parent.endswith(f"sha256:{digest}") for parent in parents)


def _latest(registry: Registry, path: str) -> Version | None:
    try:
        return registry.resolve(path)
    except (AdapterNotFound, InvalidFolder):  # yanked or damaged since the index was refreshed
        return None


def _indexed(registry: Registry, digest: str, cache: Path) -> list[str]:
    index = SearchIndex(registry.store, index_file(cache, registry.store))
    try:
        index.refresh()
        rows = index.connection.execute("SELECT adapter.path FROM parent JOIN adapter ON adapter.id = parent.adapter "
                                        "WHERE parent.digest = ? ORDER BY adapter.path", (digest,))
        return [str(row[0]) for row in rows]
    finally:
        index.close()
