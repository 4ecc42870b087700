"""The page about a training run: what was found on the test rows, the learning curve, facts and the command."""

import shlex
import sys
from pathlib import Path

from adapterhub.adapter.folder import read_folder
from adapterhub.adapter.manifest import Manifest
from adapterhub.data.report import DataReport
from adapterhub.reporting.page import write_page
from adapterhub.reporting.section import Section
from adapterhub.reporting.sections import curve_section, sections_of
from adapterhub.training.run import TrainResult


def write_train_report(file: Path, result: TrainResult) -> None:
    """Write the page. Raises StorageError."""
    assert result.folder is not None, "an adapter was trained"
    manifest = read_folder(result.folder).manifest
    found = sections_of(result.findings, has_pictures=True) if result.evaluation.n_rows else []
    write_page(file, f"{result.folder.name}: {manifest.task} on {manifest.data.name}",
               [*found, curve_section(result.curve, has_pictures=True), _rows(result.report), _facts(manifest, result),
                _settings(manifest)])


def _rows(report: DataReport) -> Section:
    """Return what was found in the rows before they were learned; no text of theirs."""
    shares = ("50%", "95%", "100%")
    lines = [(part.name, f"{part.n_rows:,}", str(len(part.labels) or ""),
              *(f"{part.lengths.quantiles.get(share, 0):,}" if part.lengths else "" for share in shares),
              f"{part.lengths.n_cut:,}" if part.lengths else "") for part in report.parts]
    found = ", ".join(f"{name.replace('_', ' ')}: {count:,}" for name, count in sorted(report.facts().items()) if count)
    return Section(title="Rows", note=f"Found in them: {found}." if found else "No doubles and no contradictions.",
                   header=("part", "rows", "labels", *(f"tokens of {share}" for share in shares), "rows cut"),
                   lines=lines)


def _facts(manifest: Manifest, result: TrainResult) -> Section:
    data, training = manifest.data, manifest.training
    size = sum(facts.size_bytes for facts in manifest.files.values())
    return Section(title="Data and cost", header=("what", "value"), lines=[
        ("tokens after which a text is cut", f"{result.max_length:,}"), ("data digest", data.digest),
        ("base", f"{manifest.base.id} ({manifest.base.fingerprint[:12]})"),
        ("trained parameters", f"{result.n_trained:,}"), ("adapter folder", f"{size:,} bytes"),
        ("epochs and steps", f"{result.outcome.epochs_done} and {result.outcome.n_steps:,}"),
        ("seconds", f"{training.seconds:.0f}"),
        ("peak memory of the process", f"{training.peak_memory_bytes / 1e6:,.0f} MB")])


def _settings(manifest: Manifest) -> Section:
    training = manifest.training
    lines = [(name, "default" if value is None else str(value))
             for name, value in sorted(training.hyperparameters.items())]
    return Section(title="How it was made", note=f"$ {shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])}",
                   header=("setting", "value"),
                   lines=[*lines, ("seed", str(training.seed)), *sorted(training.versions.items())])
