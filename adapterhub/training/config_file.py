"""A run's settings outside Python: from TOML or JSON into a TrainConfig, and back. It knows no command line."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from adapterhub.errors import InvalidConfig, UnknownName
from adapterhub.files import storage_errors
from adapterhub.training.config import TrainConfig

_CONFIG: TypeAdapter[TrainConfig] = TypeAdapter(TrainConfig)
_MOST_BYTES = 1 << 20
"""Settings are a few lines; a file of this size is something else."""


def read_config(path: Path) -> dict[str, Any]:
    """Read a TOML file's settings; relative paths in it stay relative to the working directory.

    Raises InvalidConfig where it is absent or no TOML, with the place; StorageError where it cannot be read.
    """
    if not path.is_file():
        raise InvalidConfig(f"No such file of settings: {path}.", hint="Give a TOML file with --config.")
    with storage_errors(path):
        if path.stat().st_size > _MOST_BYTES:
            raise InvalidConfig(f"{path} has {path.stat().st_size:,} bytes, a file of settings has a few lines.",
                                hint="Give rows with --data, and a TOML file with --config.")
        data = path.read_bytes()
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # of TOML and of UTF-8 alike
        raise InvalidConfig(f"{path} is no TOML: {str(error).rstrip('.')[:200]}.",
                            hint='Write settings as in: task = "text-classification"') from error


def parse_config(settings: Mapping[str, Any]) -> TrainConfig:
    """Build a TrainConfig of plain values, as TOML and JSON give them: paths as text, tuples as lists.

    Raises UnknownName for a key that is no field; InvalidConfig for one that is missing, of a wrong type or out of
    its range.
    """
    known = {field.name: field for field in fields(TrainConfig)}
    for name in settings:
        if name not in known:
            raise UnknownName("setting", name, known)
    if missing := [name for name, field in known.items() if _is_required(field) and name not in settings]:
        raise InvalidConfig(f"A run needs {' and '.join(missing)}, and nothing says {'them' if missing[1:] else 'it'}.",
                            hint=f"Give {' and '.join(f'--{name}' for name in missing)}, or write it in --config.")
    try:
        return _CONFIG.validate_json(json.dumps(dict(settings), default=_refuse), strict=True)
    except ValidationError as error:
        raise InvalidConfig(f"{'; '.join(_faults(error, settings))}.",
                            hint="See `adapterhub train --help` for what each setting takes.") from error


def config_to_plain(config: TrainConfig) -> dict[str, Any]:
    """Return every setting as a plain value of JSON; `parse_config` gives an equal TrainConfig of it."""
    plain: dict[str, Any] = _CONFIG.dump_python(config, mode="json", warnings=False)  # an int for a float is fine
    return plain


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _refuse(value: object) -> object:
    raise InvalidConfig(f"{value} is a {type(value).__name__}, which no setting takes.", hint="Write it as text.")


def _faults(error: ValidationError, settings: Mapping[str, Any]) -> list[str]:
    """Say for each field at fault what it is and what it may be; a field of several types has a fault for each."""
    expected: dict[str, list[str]] = {}
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        wish = fault["msg"].removeprefix("Input should be ").lower()
        expected.setdefault(str(fault["loc"][0]), []).append(wish)
    return [f"{name} is {_shown(settings[name])}, expected {' or '.join(dict.fromkeys(wishes))}"
            for name, wishes in expected.items()]


def _shown(value: object) -> str:
    shown = json.dumps(value)
    return shown if len(shown) <= 80 else shown[:80] + "..."
