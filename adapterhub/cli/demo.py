"""`demo`: the whole way on this machine."""

from pathlib import Path

import click

from adapterhub.cli.output import guarded, json_option, print_json
from adapterhub.progress import waiting
from adapterhub.settings import Settings


@click.command(epilog="Example: adapterhub demo --output demo-output")
@click.option("--output", type=click.Path(path_type=Path), default=Path("demo-output"), show_default=True,
              help="A folder for the trained adapters and their registry; an earlier demo's is replaced.")
@json_option
@guarded
def demo(output: Path, as_json: bool) -> None:
    """Train two adapters, publish, answer mixed rows in one pass, swap under requests, compare the cost."""
    with waiting("loading torch, transformers and peft"):
        from adapterhub.demo.tour import run_demo
    from adapterhub.demo.plan import DemoPlan

    figures = run_demo(DemoPlan(output=output), Settings.from_environment(), is_quiet=as_json)
    if as_json:
        print_json(figures.to_dict())
