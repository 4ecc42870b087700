"""How `verify` checks one version, or all of them: digests, structure and, with a base, fit and probe."""

from typing import NamedTuple

import click

from adapterhub.cli.output import fail, print_json
from adapterhub.errors import AdapterHubError, BaseNotFound
from adapterhub.progress import waiting
from adapterhub.registry import Registries, Registry, Version
from adapterhub.registry.pull import PROBE
from adapterhub.settings import Settings


class Checked(NamedTuple):
    """What was checked of a version; a fault would have been raised instead."""

    version: Version
    checks: list[str]
    not_checked: list[str]
    unreached: str = ""
    """Why the base that was asked for could not be had; then its fit and the probe are not checked."""


def check_version(registry: Registry | Registries, reference: str | Version, base: str | None,
                  settings: Settings) -> Checked:
    """Check one version; with `base` also its fit and its probe.

    Where the base cannot be had, structure is checked from the manifest, and the rest is told as not checked.
    Raises InvalidFolder, BaseMismatch, PolicyRefused.
    """
    verification = registry.verify(reference)
    if base is None:
        return Checked(verification.version, list(verification.checks), list(verification.not_checked))
    with waiting("computing the probe"):
        from adapterhub.bases.load import load_base  # heavy: kept out of --help
        from adapterhub.runtime.measure import verify_probe

        try:
            shapes = load_base(base, cache=settings.cache).shapes
        except BaseNotFound as error:
            return Checked(verification.version, list(verification.checks), list(verification.not_checked), str(error))
        fit = registry.verify(verification.version, shapes)
        difference = verify_probe(registry.read(verification.version), base, settings)
    return Checked(verification.version,
                   [*fit.checks, f"the probe's outputs are within {difference:.1e} of what they were"],
                   [what for what in fit.not_checked if what != PROBE])


def verify_everything(registry: Registry, base: str | None, settings: Settings, as_json: bool) -> None:
    """Check every version, tell each, and leave with exit code 2 where one has a fault."""
    faults, unreached = 0, ""
    not_checked: set[str] = set()
    for path in registry.paths():
        for number in registry.numbers(path):
            reference = f"{path}@{number}"
            try:
                checked = check_version(registry, reference, base, settings)
                not_checked.update(checked.not_checked)
                fault, unreached = "", checked.unreached
            except AdapterHubError as error:
                faults, fault = faults + 1, str(error)
            if as_json:
                print_json({"reference": reference, "is_whole": not fault, "fault": fault})
            else:
                click.echo(f"{reference} is whole." if not fault else f"{reference}: {fault}")
    if not_checked and not as_json:
        click.echo(f"Not checked: {'; '.join(sorted(not_checked))}. Give --base embedded, or the adapters' own base.")
    if faults:
        fail(f"{faults} version{'s' * (faults != 1)} of {registry.where} cannot be trusted.")
    if unreached:
        fail(f"No probe was run: {unreached}")
