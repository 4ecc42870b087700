"""The settings of a training run at the command line: those of a file, then the options given, which win."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from adapterhub.errors import InvalidConfig

Decorator = Callable[[Callable[..., None]], Callable[..., None]]
_GIVEN = "adapterhub.run_settings"
"""Where click's context keeps the settings that were given as options."""


def setting(option: str, text: str, *, kind: click.ParamType[Any] | type[Any] = str) -> Decorator:
    """Add an option for the field of TrainConfig that has its name; `text` is its help.

    `kind` is click's, or a type; `bool` makes a flag with a `--no-` beside it. An option has no default of its own:
    what is not given is the file's, or else the field's default.
    """
    if kind is bool:
        option = f"{option}/--no-{option.removeprefix('--')}"
    return click.option(option, type=kind, default=None, help=text, expose_value=False, callback=_remember)


def pairs_setting(option: str, field: str, text: str, *, metavar: str,
                  parse: Callable[[tuple[str, ...]], Mapping[str, Any]]) -> Decorator:
    """Add an option that may be given again, for a field of TrainConfig that holds names with values."""
    def remember(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> None:
        _remember(context, parameter, parse(value) or None)
    return click.option(option, field, multiple=True, metavar=metavar, help=text, expose_value=False,
                        callback=remember)


def several_setting(option: str, field: str, text: str) -> Decorator:
    """Add an option that may be given again, for a field of TrainConfig that holds several texts."""
    def remember(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> None:
        _remember(context, parameter, list(value) or None)
    return click.option(option, field, multiple=True, help=text, expose_value=False, callback=remember)


def config_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--config`, which `given_settings` takes."""
    return click.option("--config", "config_file", type=click.Path(path_type=Path), metavar="FILE",
                        help="A TOML file with settings by the names of these options; options given here win."
                        )(command)


def given_settings(config_file: Path | None) -> dict[str, Any]:
    """Return the settings of the file and of this command's options; of names with values, those of both.

    Raises InvalidConfig for a file that is absent or no TOML.
    """
    from adapterhub.training.config_file import read_config

    settings = read_config(config_file) if config_file else {}
    given: dict[str, Any] = click.get_current_context().meta.get(_GIVEN, {})
    for field, value in given.items():
        before = settings.get(field)
        settings[field] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
    return settings


def parse_columns(given: tuple[str, ...]) -> dict[str, str]:
    """Parse FIELD=COLUMN options. Raises InvalidConfig."""
    if bad := [text for text in given if "=" not in text]:
        raise InvalidConfig(f"--column {bad[0]!r} is not FIELD=COLUMN.", hint="Write for instance --column text=body.")
    return dict(text.split("=", 1) for text in given)


def _remember(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if value is not None:
        context.meta.setdefault(_GIVEN, {})[parameter.name] = value
