"""How `train` and `evaluate` tell what was found: as tables, as plain values, as a page."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterhub.cli.output import print_table

if TYPE_CHECKING:
    from adapterhub.reporting.findings import Findings
    from adapterhub.reporting.section import Section

LONGEST_CELL = 100
"""Characters of a text in a terminal's table."""


def print_sections(sections: "Sequence[Section]") -> None:
    """Print sections as tables, the first one last, where it is seen at once."""
    for section in [*sections[1:], *sections[:1]]:
        lines = section.lines[:section.n_seen] if section.n_seen else section.lines
        print_table(section.title, section.header, [[cell[:LONGEST_CELL] for cell in line] for line in lines])


def findings_facts(findings: "Findings") -> dict[str, Any]:
    """Return one adapter's findings as plain values."""
    confusion, calibration = findings.confusion, findings.calibration
    return {
        "adapter": findings.name, "metrics": findings.metrics, "n_rows": findings.evaluation.n_rows,
        "intervals": {name: list(interval) for name, interval in findings.intervals.items()},
        "expected_calibration_error": calibration.error if calibration else None,
        "confused": [{"right": pair.right, "answered": pair.answered, "n_rows": pair.n_rows}
                     for pair in (confusion.pairs if confusion else ())]}


def train_page(output: Path, given: Path | None) -> Path:
    """Return where the page about a run goes. Raises InvalidConfig for a name that no page can have."""
    from adapterhub.reporting.page import require_page_name

    page = given or output.with_name(f"{output.name}-report.html")
    require_page_name(page)
    return page
