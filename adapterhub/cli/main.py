"""The entry: every command in one group."""

import click

from adapterhub.cli.combine import convert, export_model, merge
from adapterhub.cli.compare import compare
from adapterhub.cli.data import data
from adapterhub.cli.demo import demo
from adapterhub.cli.diff import diff
from adapterhub.cli.doctor import doctor
from adapterhub.cli.estimate import estimate
from adapterhub.cli.evaluate import evaluate
from adapterhub.cli.feedback import feedback
from adapterhub.cli.gates import gate
from adapterhub.cli.generate import generate
from adapterhub.cli.predict import predict
from adapterhub.cli.registry import history, list_adapters, promote, publish, pull, rollback, show, verify
from adapterhub.cli.registry_admin import at, backup, copy_adapters, policy, restore, sweep, watch, yank
from adapterhub.cli.retrain import retrain
from adapterhub.cli.search import breaks, fits, search
from adapterhub.cli.search_hyperparameters import search_hyperparameters
from adapterhub.cli.serve import serve
from adapterhub.cli.tokens import token
from adapterhub.cli.train import train


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="adapterhub")
def main() -> None:
    """One frozen base, many tasks: train, publish, swap, predict and compare adapters."""


for command in (train, evaluate, search_hyperparameters, publish, list_adapters, search, show, pull, verify, promote,
                rollback, history,
                predict, generate, demo, doctor, gate, at, yank, sweep, copy_adapters, backup, restore, watch, policy,
                fits, breaks, diff, merge, convert, export_model, serve, token, feedback, retrain, data,
                compare, estimate):
    main.add_command(command)
