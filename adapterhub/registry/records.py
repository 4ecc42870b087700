"""The registry's own small JSON objects, as frozen records sealed by a checksum.

The checksum finds any changed byte; it is no signature. It knows no store.
"""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError

from adapterhub.errors import InvalidFolder
from adapterhub.files import canonical_json, sha256_of_bytes

_STRICT = ConfigDict(extra="forbid")
_SEAL = "checksum"


class Clock(Protocol):
    """What tells the time, so that tests can."""

    def __call__(self) -> datetime:
        """Return the time now, with its zone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRecord:
    """`claim.json`: who took a version number."""

    __pydantic_config__ = _STRICT

    id: str
    """Random, so that a publisher knows its own claim again."""
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRecord:
    """`version.json`: a version exists, and what its bytes are."""

    __pydantic_config__ = _STRICT

    version: int
    digest: str
    size_bytes: int
    """Of the four files."""
    published_at: str
    """UTC, ISO 8601."""
    claim: str


@dataclass(frozen=True, slots=True, kw_only=True)
class YankRecord:
    """`yanked.json`: why a version should not be taken any more."""

    __pydantic_config__ = _STRICT

    reason: str
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveRecord:
    """`aliases/<alias>/<k>.json`: where the alias points from this move on."""

    __pydantic_config__ = _STRICT

    version: int
    digest: str
    at: str
    action: str
    """`promote` or `rollback`."""
    previous: int | None
    """The version it pointed to before."""
    restores: int | None
    """For a rollback: the number of the move that holds again."""


Record = TypeVar("Record", ClaimRecord, VersionRecord, YankRecord, MoveRecord)
_ADAPTERS: dict[type, TypeAdapter[Any]] = {kind: TypeAdapter(kind)
                                           for kind in (ClaimRecord, VersionRecord, YankRecord, MoveRecord)}


def to_bytes(record: ClaimRecord | VersionRecord | YankRecord | MoveRecord) -> bytes:
    """Return a record as canonical JSON with its checksum."""
    return _sealed(asdict(record))


def parse_record(kind: type[Record], data: bytes, key: str) -> Record:
    """Parse a record's bytes. Raises InvalidFolder where any byte of it changed, or where it is newer."""
    try:
        value = json.loads(data)
        if not isinstance(value, dict) or _sealed({k: v for k, v in value.items() if k != _SEAL}) != data:
            raise ValueError("its bytes changed after it was written")
        del value[_SEAL]
        return cast("Record", _ADAPTERS[kind].validate_python(value))  # the table's key is the type of its value
    except ValidationError as error:
        fault = error.errors()[0]
        why = f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].lower()}"
        raise InvalidFolder(key, [f"it is of another format ({why})"], hint="Update adapterhub.") from error
    except (ValueError, RecursionError) as error:
        raise InvalidFolder(key, [f"it cannot be trusted ({error})"],
                            hint="Restore it from a backup, or publish the adapter again.") from error


def utc(now: datetime) -> str:
    """Return a time as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(now.timestamp(), tz=UTC).isoformat(timespec="seconds")


def _sealed(value: dict[str, Any]) -> bytes:
    return canonical_json({**value, _SEAL: sha256_of_bytes(canonical_json(value))})
