"""Add to a finished adapter folder's card what it was compared with; its tensors stay as they are."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from adapterhub.adapter.folder import CARD_FILE, read_folder
from adapterhub.adapter.manifest import MANIFEST_FILE, FileFacts
from adapterhub.files import sha256_of_bytes, write_atomic

TITLE = "## Beside it, on the same test rows"


def add_comparison(folder: Path, arms: Mapping[str, Mapping[str, float]]) -> None:
    """Write a table of other ways (arm -> metric -> value) into the card; replaces an earlier one.

    Raises InvalidFolder where the folder does not verify.
    """
    if not arms:
        return
    adapter = read_folder(folder)
    card = adapter.files[CARD_FILE].decode().split(TITLE)[0].rstrip()
    own = {metric.name: metric.value for metric in adapter.manifest.metrics if metric.split == "test"}
    ways = {"this adapter": own, **arms}
    lines = [f"| {way} | {' | '.join(_figure(figures, name) for name in own)} |" for way, figures in ways.items()]
    table = "\n".join([f"| way | {' | '.join(own)} |", f"|{'---|' * (len(own) + 1)}", *lines])
    data = f"{card}\n\n{TITLE}\n\n{table}\n\n{_verdict(own, arms)}\n".encode()
    facts = FileFacts(sha256=sha256_of_bytes(data), size_bytes=len(data))
    manifest = replace(adapter.manifest, files={**adapter.manifest.files, CARD_FILE: facts})
    write_atomic(folder / CARD_FILE, data)
    write_atomic(folder / MANIFEST_FILE, manifest.to_bytes())


def _figure(figures: Mapping[str, float], name: str) -> str:
    return f"{figures[name]:.4f}" if name in figures else "not measured"


def _verdict(own: Mapping[str, float], arms: Mapping[str, Mapping[str, float]]) -> str:
    """Say which ways did better, metric by metric."""
    better = [f"{arm} is better in {name} by {figures[name] - own[name]:.4f}"
              for arm, figures in arms.items() for name in own if figures.get(name, own[name]) > own[name]]
    return (f"One seed each: {'; '.join(better)}." if better else "One seed each: none of them does better.")
