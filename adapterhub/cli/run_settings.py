"""The settings of a training run at the command line: those of a file, then the options given, which win."""

import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click

from adapterhub.errors import InvalidConfig
from adapterhub.training.method_table import METHODS

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
                  parse: Callable[[tuple[str, ...]], Mapping[str, Any] | str]) -> Decorator:
    """Add an option that may be given again, for a field of TrainConfig that holds names with values, or one text."""
    def remember(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> None:
        # Parsed by `given_settings`: what is raised here, before the command runs, nobody turns into a sentence.
        _remember(context, parameter, partial(parse, value) if value else None)
    return click.option(option, field, multiple=True, metavar=metavar, help=text, expose_value=False,
                        callback=remember)


def several_setting(option: str, field: str, text: str) -> Decorator:
    """Add an option that may be given again, for a field of TrainConfig that holds several texts."""
    def remember(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> None:
        _remember(context, parameter, list(value) or None)
    return click.option(option, field, multiple=True, help=text, expose_value=False, callback=remember)


class _Shared(NamedTuple):
    """What is told of a setting that several commands take."""

    text: str
    default: str = ""
    """What is taken where none is given, if something is."""
    kind: type[Any] = str


_SHARED = {
    "--task": _Shared("text-classification, multi-label-classification, text-regression, token-classification, "
                      "question-answering, sentence-similarity, text-generation or text2text-generation."),
    "--data": _Shared("A csv, tsv, json, jsonl (.gz) or parquet file, a folder with train, validation and test, or a "
                      "Hugging Face data set."),
    "--output": _Shared("The adapter folder to write."),
    "--base": _Shared("embedded, a local folder, or a Hub id.", "embedded"),
    "--method": _Shared(f"{', '.join(name for name in METHODS if name != 'full')}.", "lora"),
    "--targets": _Shared("Layers, separated by commas, or re: with a pattern for whole names.", "all-linear"),
    "--epochs": _Shared("Passes over the training rows.", "8, with few rows more", int),
    "--max-length": _Shared("Tokens after which a text is cut.", "the task's", int),
    "--metric": _Shared("Validation metric that chooses the best epoch.", "the task's first"),
    "--patience": _Shared("Epochs without a better one before stopping.", "3", int),
    "--seed": _Shared("Of what is drawn.", "0", int),
    "--licence": _Shared("Of the data, for the card."),
    "--source": _Shared("Of the data, for the card."),
}
_COLUMN, _COLUMN_METAVAR, _COLUMN_TEXT = "--column", "FIELD=COLUMN", "A column with an uncommon name."


def shared_settings(*options: str, told: Mapping[str, str] | None = None) -> Decorator:
    """Add settings that several commands take, in this order; `told` has the help of those that mean more here."""
    def add(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            shared = _SHARED[option]
            text = (told or {}).get(option, shared.text) + (f"  [default: {shared.default}]" if shared.default else "")
            command = setting(option, text, kind=shared.kind)(command)
        return command
    return add


def column_setting(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--column` to a command that makes a training run."""
    return pairs_setting(_COLUMN, "columns", _COLUMN_TEXT, metavar=_COLUMN_METAVAR, parse=parse_columns)(command)


def column_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--column` to a command that reads rows and trains nothing by it: `columns`, for `parse_columns`."""
    return click.option(_COLUMN, "columns", multiple=True, metavar=_COLUMN_METAVAR, help=_COLUMN_TEXT)(command)


def rows_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Add what is done to rows before they are divided and encoded."""
    for add in (
        setting("--stream", "Leave the rows on the disk: for what does not fit in memory.", kind=bool),
        setting("--remove-duplicates", "Leave out rows that repeat another, and training rows whose text stands in "
                "validation or test rows too.", kind=bool),
        setting("--near-duplicates", "Count texts as the same, nearly, that have at least this share of word pairs in "
                "common, such as 0.8; --remove-duplicates leaves them out too (extra duplicates).  [default: none]",
                kind=float),
        pairs_setting("--label-map", "label_map", "A label's other name; of tags the entity type's, O for none.",
                      metavar="OLD=NEW", parse=parse_label_map),
        column_setting,
    ):
        command = add(command)
    return command


def config_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--config`, which `given_settings` takes."""
    return click.option("--config", "config_file", type=click.Path(path_type=Path), metavar="FILE",
                        help="A TOML file with settings by the names of these options; options given here win."
                        )(command)


def given_settings(config_file: Path | None) -> dict[str, Any]:
    """Return the settings of the file and of this command's options; of names with values, those of both.

    Raises InvalidConfig for a file that is absent or no TOML, and for an option that cannot be read.
    """
    from adapterhub.training.config_file import read_config

    settings = read_config(config_file) if config_file else {}
    given: dict[str, Any] = click.get_current_context().meta.get(_GIVEN, {})
    for field, found in given.items():
        value, before = found() if isinstance(found, partial) else found, settings.get(field)
        settings[field] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
    return settings


def parse_columns(given: tuple[str, ...]) -> dict[str, str]:
    """Parse FIELD=COLUMN options. Raises InvalidConfig."""
    if bad := [text for text in given if "=" not in text]:
        raise InvalidConfig(f"--column {bad[0]!r} is not FIELD=COLUMN.", hint="Write for instance --column text=body.")
    return dict(text.split("=", 1) for text in given)


def parse_method_options(given: tuple[str, ...]) -> dict[str, Any]:
    """Parse NAME=VALUE options; a value is read as TOML, and is a text where it is none. Raises InvalidConfig."""
    if bad := [text for text in given if not text.partition("=")[0] or "=" not in text]:
        raise InvalidConfig(f"--method-option {bad[0]!r} is not NAME=VALUE.",
                            hint="Write for instance --method-option use_rslora=true.")
    return {name: _value(text) for name, _, text in (text.partition("=") for text in given)}


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def parse_label_map(given: tuple[str, ...]) -> dict[str, str]:
    """Parse OLD=NEW options; an old name may hold `=`. Raises InvalidConfig."""
    if bad := [text for text in given if "=" not in text.strip("=")]:
        raise InvalidConfig(f"--label-map {bad[0]!r} is not OLD=NEW.", hint="Write for instance --label-map neg=bad.")
    return {old: new for old, _, new in (text.rpartition("=") for text in given)}


def parse_class_weights(given: tuple[str, ...]) -> dict[str, float] | str:
    """Parse `balanced`, or LABEL=WEIGHT options. Raises InvalidConfig."""
    if len(given) == 1 and "=" not in given[0]:
        return given[0]
    weights = {}
    for text in given:
        label, _, weight = text.rpartition("=")
        try:
            weights[label] = float(weight)
        except ValueError:
            label = ""
        if not label:
            raise InvalidConfig(f"--class-weights {text!r} is neither balanced nor LABEL=WEIGHT.",
                                hint="Write for instance --class-weights fraud=5.")
    return weights


def _remember(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if value is not None:
        context.meta.setdefault(_GIVEN, {})[parameter.name] = value
