"""`evaluate`: one adapter measured on rows, or several side by side on the same ones."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapterhub.cli.output import base_option, guarded, json_option, print_json, registry_option
from adapterhub.cli.report import findings_facts, print_sections
from adapterhub.cli.run_settings import column_option, parse_columns
from adapterhub.errors import InvalidConfig
from adapterhub.progress import waiting

if TYPE_CHECKING:
    from adapterhub.adapter.folder import AdapterFolder
    from adapterhub.reporting.comparison import Comparison
    from adapterhub.reporting.measured import Measured
    from adapterhub.reporting.section import Section


@click.command(epilog="Example: adapterhub evaluate support/intents@1 support/intents@2 --data rows.csv")
@click.argument("adapters", nargs=-1, required=True)
@click.option("--data", required=True, help="Rows with the right answers: a file, or a folder's test part.")
@column_option
@click.option("--report", type=click.Path(path_type=Path), help="Write a page with pictures too: a .html or .md file.")
@base_option
@registry_option
@json_option
@guarded
def evaluate(adapters: tuple[str, ...], data: str, columns: tuple[str, ...], report: Path | None, base: str,
             place: str | None, as_json: bool) -> None:
    """Measure adapters (references or folders) on rows, with intervals; several are compared on the same rows.

    Each is namespace/name, or ./folder for one that is not published.
    """
    from adapterhub.cli.places import adapter_folder, open_places
    from adapterhub.reporting.page import require_page_name

    if report is not None:
        require_page_name(report)
    if twice := [adapter for i, adapter in enumerate(adapters) if adapter in adapters[:i]]:
        raise InvalidConfig(f"{twice[0]} is given twice.", hint="Name each adapter once.")
    registries, settings = open_places(place)
    folders, given = {adapter: adapter_folder(adapter, registries) for adapter in adapters}, parse_columns(columns)
    with waiting("loading torch and the base, answering"):
        from adapterhub.runtime.measure import measure_adapters

        measured = measure_adapters(folders, data, base=base, settings=settings, columns=given)
    _tell(measured, folders, data=data, report=report, as_json=as_json)


def _tell(measured: "list[Measured]", folders: "dict[str, AdapterFolder]", *, data: str, report: Path | None,
          as_json: bool) -> None:
    from adapterhub.reporting.comparison import compare
    from adapterhub.reporting.page import write_page
    from adapterhub.reporting.sections import comparison_sections, sections_of

    comparison, is_single = compare(measured), len(measured) == 1
    if report is not None:
        pages = [] if is_single else comparison_sections(comparison, has_pictures=True)
        for own in comparison.findings:
            pages += sections_of(own, has_pictures=True, named=not is_single)
        write_page(report, f"{', '.join(folders)} on {Path(data).name}", [*pages, _measured_facts(folders, data)])
    if as_json:
        print_json(findings_facts(comparison.findings[0]) if is_single else comparison_facts(comparison))
    else:
        print_sections(sections_of(comparison.findings[0], has_pictures=False) if is_single
                       else comparison_sections(comparison, has_pictures=False))
        if report is not None:
            click.echo(f"Wrote {report}.")


def comparison_facts(comparison: "Comparison") -> dict[str, Any]:
    """Return a comparison as plain values."""
    return {
        "adapters": [findings_facts(own) for own in comparison.findings],
        "differences": [{"first": own.first, "second": own.second, "metric": own.metric,
                         "difference": own.difference.value, "interval": list(own.difference.interval),
                         "p_value": own.difference.p_value, "better": own.better} for own in comparison.differences],
        "mcnemar": [{"first": own.first, "second": own.second, "only_first": own.only_first,
                     "only_second": own.only_second, "p_value": own.p_value} for own in comparison.mcnemar]}


def _measured_facts(folders: "dict[str, AdapterFolder]", data: str) -> "Section":
    from adapterhub.reporting.section import Section

    lines = [(name, folder.digest, folder.manifest.method.name, f"{folder.manifest.method.n_parameters:,}",
              folder.manifest.data.name) for name, folder in folders.items()]
    return Section(title="What was measured", note=f"Rows of {Path(data).name}, in the runtime, in float32.",
                   header=("adapter", "digest", "method", "parameters", "trained on"), lines=lines)
