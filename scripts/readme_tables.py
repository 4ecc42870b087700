"""README's tables of commands and shipped adapters, from the code and registry/: `python scripts/readme_tables.py`."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markers import write_or_print

from adapterhub.adapter.folder import CARD_FILE
from adapterhub.cli.main import main as command_line
from adapterhub.registry import Listing, Registry
from adapterhub.training.describe import TITLE as COMPARISON

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"


def main() -> int:
    """Print the tables, or write them into README.md with `--write`."""
    return write_or_print(DOCUMENT, tables())


def tables() -> dict[str, str]:
    """Return every generated part of README.md by its marker's name."""
    return {"commands": command_table(), "costs": cost_table(RESULTS / "text" / "summary.json"),
            "shipped adapters": adapter_tables(Registry(ROOT / "registry"))}


def command_table() -> str:
    """Return every command with its help's first sentence."""
    return _table(("command", "what it does"),
                  [(f"`{name}`", command.get_short_help_str(limit=200)) for name, command
                   in command_line.commands.items()])


def cost_table(summary: Path) -> str:
    """Return each arm of a comparison beside full fine-tuning, task by task, from what `compare` wrote.

    The picture is the first task's.
    """
    if not summary.exists():
        return "Not measured yet."
    told = json.loads(summary.read_text(encoding="utf-8"))
    parts = []
    for task, arms in told["tasks"].items():
        full = next(arm for arm in arms if arm["arm"] == "full")
        lines = [(arm["title"], _points(arm["quality"]),
                  f"{arm['trained_parameters']:,}" if arm["trained_parameters"] else "none",
                  _beside(arm["disk_bytes"], full["disk_bytes"]),
                  _beside(arm["peak_memory_bytes"], full["peak_memory_bytes"]), _time(arm, full)) for arm in arms]
        parts.append(_table((f"{task}, {full['n_test_rows']:,} test rows", f"test {full['metric']}, in 100",
                             "trained", "MB on disk", "MB of memory at the peak", "time of a step"), lines))
    picture = f"{summary.parent.relative_to(ROOT)}/memory-{next(iter(told['tasks']))}.png"
    return "\n\n".join([*parts, f"![Memory of a step by part, and its measured peak, for each arm.]({picture})"])


def _points(quality: Mapping[str, float | None]) -> str:
    spread = "" if quality["half_width"] is None else f" ± {100 * quality['half_width']:.1f}"
    return f"{100 * (quality['value'] or 0):.1f}{spread}"


def _time(arm: Mapping[str, Any], full: Mapping[str, Any]) -> str:
    is_alike = arm["processor"] == full["processor"] and arm["step_seconds"]
    return f"{arm['step_seconds'] / full['step_seconds']:.2f}x" if is_alike else ""


def _beside(value: int, full: int) -> str:
    return f"{value / 1e6:,.1f} ({value / full:.3f}x)" if value else ""


def adapter_tables(registry: Registry) -> str:
    """Return what each adapter of a registry is, and how it measures beside other ways."""
    listings = registry.list()
    if not listings:
        return "None yet."
    facts = _table(("adapter", "task", "labels", "data", "licence of the data", "bytes"),
                   [_facts(listing) for listing in listings])
    figures = [line for listing in listings for line in _figures(listing, registry)]
    return f"{facts}\n\n{_table(('adapter', 'metric', 'test rows', 'adapter', 'other ways, same test rows'), figures)}"


def _facts(listing: Listing) -> tuple[str, ...]:
    manifest, version = listing.manifest, listing.version
    return (f"[`{listing.path}`](registry/{listing.path}/versions/{version.version}/README.md)", manifest.task,
            str(len(manifest.labels) or ""), manifest.data.source, manifest.data.licence, f"{version.size_bytes:,}")


def _figures(listing: Listing, registry: Registry) -> list[tuple[str, ...]]:
    """One line for each metric on the test split."""
    ways = _other_ways(registry.read(listing.version).files[CARD_FILE].decode())
    return [(f"`{listing.path}`", metric.name, f"{metric.n_rows:,}", f"{metric.value:.3f}",
             ", ".join(f"{way} {figures[metric.name]:.3f}" for way, figures in ways.items() if metric.name in figures))
            for metric in listing.manifest.metrics if metric.split == "test"]


def _other_ways(card: str) -> dict[str, dict[str, float]]:
    """Read the card's comparison: way -> metric -> value; empty where it has none."""
    lines = [line for line in card.partition(COMPARISON)[2].splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {way: {name: float(cell) for name, cell in zip(rows[0][1:], cells, strict=True) if _is_number(cell)}
            for way, *cells in rows[1:] if way != "this adapter"}


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace("-", "", 1).isdigit()


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, ["---"] * len(header), *lines])


if __name__ == "__main__":
    sys.exit(main())
