"""How `verify` checks one version, or all of them: digests, structure and, with a base, fit and probe."""

from typing import TYPE_CHECKING, NamedTuple

import click

from adapterhub.cli.output import fail, print_json
from adapterhub.errors import AdapterHubError, BaseNotFound
from adapterhub.progress import waiting
from adapterhub.registry import Registries, Registry, Version
from adapterhub.registry.pull import PROBE
from adapterhub.settings import Settings

if TYPE_CHECKING:
    from adapterhub.bases.load import Base


class Checked(NamedTuple):
    """What was checked of a version; a fault would have been raised instead."""

    version: Version
    checks: list[str]
    not_checked: list[str]
    unreached: str = ""
    """Why the base that was asked for could not be had; then its fit and the probe are not checked."""


class OpenedBase(NamedTuple):
    """The base that `verify` was asked for, or why it could not be had."""

    base: "Base | None"
    unreached: str = ""


def open_base(name: str | None, settings: Settings) -> OpenedBase:
    """Open the base to verify against, once for all versions; none where no name was given or it cannot be had."""
    if name is None:
        return OpenedBase(None)
    with waiting("opening the base"):
        from adapterhub.bases.load import load_base  # heavy: kept out of --help

        try:
            return OpenedBase(load_base(name, cache=settings.cache))
        except BaseNotFound as error:
            return OpenedBase(None, str(error))


def check_version(registry: Registry | Registries, reference: str | Version, opened: OpenedBase) -> Checked:
    """Check one version; with a base also its fit and its probe.

    Where the base cannot be had, structure is checked from the manifest, and the rest is told as not checked.
    Raises InvalidFolder, BaseMismatch, PolicyRefused.
    """
    found = registry.verify(reference, opened.base.shapes if opened.base else None)
    checks, not_checked = list(found.checks), list(found.not_checked)
    if opened.base:
        with waiting("computing the probe"):
            from adapterhub.runtime.measure import verify_probe

            difference = verify_probe(registry.read(found.version), opened.base)
        if difference is not None:
            checks.append(f"the probe's outputs are within {difference:.1e} of what they were")
            not_checked.remove(PROBE)
    return Checked(found.version, checks, not_checked, opened.unreached)


def verify_everything(registry: Registry, base: str | None, settings: Settings, as_json: bool) -> None:
    """Check every version, tell each, and leave with exit code 2 where one has a fault."""
    faults, unreached, opened = 0, "", open_base(base, settings)
    not_checked: set[str] = set()
    for path in registry.paths():
        for number in registry.numbers(path):
            reference = f"{path}@{number}"
            try:
                checked = check_version(registry, reference, opened)
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
