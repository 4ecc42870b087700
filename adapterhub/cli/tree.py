"""`show --tree`: a version with all that it was made of, and what was made of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterhub.cli.output import output_console, print_json

if TYPE_CHECKING:
    from rich.tree import Tree

    from adapterhub.registry import Registries, Version
    from adapterhub.registry.lineage import Lineage


def show_tree(registries: "Registries", reference: str, cache: Path, as_json: bool) -> None:
    """Print where a version comes from. Raises AdapterNotFound, InvalidReference, InvalidFolder, StorageError."""
    from adapterhub.registry.lineage import children, lineage

    found = lineage(registries, reference)
    assert found.version is not None, "the root was resolved"
    made = children(registries, found.version, cache)
    if as_json:
        print_json({**_facts(found), "children": [_child_facts(version) for version in made]})
        return
    from rich.text import Text
    from rich.tree import Tree

    tree = Tree(Text(_line(found)))
    _grow(tree, found)
    output_console().print(tree)
    for version in made:
        output_console().print(Text(f"Of it was made {version.reference}  sha256:{version.digest[:12]}  "
                                    f"{_mark(version)}".rstrip()))


def _grow(tree: "Tree", found: "Lineage") -> None:
    from rich.text import Text

    for parent in found.parents:
        _grow(tree.add(Text(_line(parent))), parent)


def _line(found: "Lineage") -> str:
    weight = f" ({found.weight:g})" if found.weight is not None else ""
    parts = [f"{found.relation}{weight}:" if found.relation else "", found.reference]
    if found.version:
        parts += [f" sha256:{found.version.digest[:12]}", f" {_mark(found.version)}",
                  " yanked" if found.version.is_yanked else ""]
    if found.manifest:
        data, metric = found.manifest.data, found.metric
        parts += [f" data {data.name} (sha256:{data.digest[:12]})",
                  f" {metric.name} {metric.value:.4f} on {metric.n_rows} {metric.split} rows" if metric else
                  " not measured"]
    return " ".join(part for part in [*parts, f" {found.note}" if found.note else ""] if part.strip())


def _mark(version: "Version") -> str:
    return f"{version.published_at}{f' by {version.published_by}' if version.published_by else ''}"


def _facts(found: "Lineage") -> dict[str, Any]:
    version, manifest, metric = found.version, found.manifest, found.metric
    return {"reference": found.reference, "relation": found.relation or None, "weight": found.weight,
            "note": found.note or None, "digest": version.digest if version else None,
            "by": version.published_by if version else None, "at": version.published_at if version else None,
            "registry": version.place if version else None, "is_yanked": version.is_yanked if version else None,
            "data": {"name": manifest.data.name, "digest": manifest.data.digest} if manifest else None,
            "metric": {"name": metric.name, "split": metric.split, "value": metric.value, "n_rows": metric.n_rows}
            if metric else None, "parents": [_facts(parent) for parent in found.parents]}


def _child_facts(version: "Version") -> dict[str, Any]:
    return {"reference": version.reference, "digest": version.digest, "by": version.published_by,
            "at": version.published_at, "registry": version.place}
