"""`compare`: adapters against full fine-tuning, on a named suite or on rows of one's own, with a report."""

from pathlib import Path

import click

from adapterhub.cli.output import guarded, json_option, print_json, print_table
from adapterhub.errors import InvalidConfig
from adapterhub.extras import require_extra
from adapterhub.progress import waiting
from adapterhub.settings import Settings


@click.command(epilog="Example: adapterhub compare --suite quick --output compared")
@click.option("--suite", help="quick (minutes), text (hours, resumable), scale (needs a CUDA GPU).")
@click.option("--task", help="For rows of your own: their task.")
@click.option("--data", help="For rows of your own: a file or folder.")
@click.option("--base", default="embedded", show_default=True, help="embedded, a local folder, or a Hub id.")
@click.option("--arm", "arms", multiple=True, help="An arm to run; give it again for several.  [default: all]")
@click.option("--epochs", default=6, show_default=True, help="Passes of every arm over rows of your own.")
@click.option("--batch-size", default=32, show_default=True, help="Rows per step.")
@click.option("--max-length", default=128, show_default=True, help="Tokens after which a text is cut.")
@click.option("--seeds", "n_seeds", default=3, show_default=True, help="Runs of each arm, for the interval.")
@click.option("--price", "price_per_hour", type=float, help="Of this machine for an hour: the report tells money.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("compared"), show_default=True,
              help="A folder for results and report; what is there is not run again.")
@click.option("--report-only", is_flag=True, help="Run nothing: write the report of the results that are there so far.")
@json_option
@guarded
def compare(suite: str | None, task: str | None, data: str | None, base: str, arms: tuple[str, ...], epochs: int,
            batch_size: int, max_length: int, n_seeds: int, price_per_hour: float | None, output: Path,
            report_only: bool, as_json: bool) -> None:
    """Measure what adapters save against full fine-tuning, and write a report.

    Stopped with Ctrl-C it goes on where it was when it is called again with the same --output.
    """
    if (suite is None) == (data is None) or (data is not None and task is None):
        raise InvalidConfig("Give either --suite, or --task and --data.",
                            hint="Try: adapterhub compare --suite quick.")
    require_extra("report", ["matplotlib"])
    with waiting("loading torch, transformers and peft"):
        from adapterhub.costs.run import compare_and_report
        from adapterhub.costs.suites import ComparedTask, find_suite, own_suite, parse_data_name
    settings = Settings.from_environment()
    if suite is not None:
        chosen = find_suite(suite, settings)
    else:
        assert task is not None and data is not None, "checked above"
        chosen = own_suite(ComparedTask(name=parse_data_name(data), task=task, data=data, epochs=epochs, base=base,
                                        batch_size=batch_size, max_length=max_length), arms, n_seeds)
    written = compare_and_report(chosen, output, settings, price_per_hour=price_per_hour, is_run=not report_only)
    if as_json:
        print_json(written.to_dict())
        return
    for name, lines in written.tables().items():
        print_table(name, ("arm", "quality", "disk, MB", "peak memory, MB", "step, ms"), lines)
    for paragraph in written.paragraphs():
        click.echo(paragraph)
    click.echo(f"Wrote {written.page}.")
