"""`demo`: the whole way on this machine."""

from pathlib import Path

import click

from adapterhub.cli.output import guarded


@click.command(epilog="Example: adapterhub demo --output demo-output")
@click.option("--output", type=click.Path(path_type=Path), default=Path("demo-output"), show_default=True,
              help="A folder for the trained adapters and their registry; an earlier demo's is replaced.")
@guarded
def demo(output: Path) -> None:
    """Train two adapters, publish, answer mixed rows in one pass, swap under requests, compare the cost."""
    from adapterhub.demo.tour import run_demo

    run_demo(output)
