"""The registry's own small JSON objects, as frozen records sealed by a checksum.

The checksum finds any changed byte; it is no signature. It knows no store.
"""

import json
import re
from dataclasses import MISSING, asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError

from adapterhub.errors import InvalidFolder
from adapterhub.files import canonical_json, sha256_of_bytes

_STRICT = ConfigDict(extra="forbid")
_SEAL = "checksum"
_SEAL_LINE = re.compile(rb'\n  "checksum": "([0-9a-f]{64})",|,\n  "checksum": "([0-9a-f]{64})"(?=\n})')
"""Its line in canonical JSON, with the comma that comes or goes with it."""


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
    size_bytes: int = 0
    """Of the files that will come, so that a quota counts them before they are there."""


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
    by: str = ""
    """Who published it; empty where nobody said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class YankRecord:
    """`yanked.json`: why a version should not be taken any more."""

    __pydantic_config__ = _STRICT

    reason: str
    at: str
    by: str = ""


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
    by: str = ""
    is_forced: bool = False
    """Whether it went past a gate that would have refused it, or that was not asked."""
    figures: dict[str, float] = field(default_factory=dict)
    """What the gate measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRecord:
    """`gates/<alias>/<k>.json`: what a version must meet before the alias may point to it."""

    __pydantic_config__ = _STRICT

    metric: str
    minimum: float | None
    """The least the candidate may have."""
    max_drop: float | None
    """How far below the incumbent the candidate may be; of errors, how far above."""
    maximum: float | None = None
    """The most the candidate may have, of a metric that is better when it is lower."""
    rows: str
    """The file of rows beside the gate: their SHA-256 and what kind of file it is."""
    is_open: bool = False
    """Whether the gate was taken away: nothing is measured."""
    at: str
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRecord:
    """`.policy/<k>.json`: what a whole registry asks of publishers and readers."""

    __pydantic_config__ = _STRICT

    quotas: dict[str, int] = field(default_factory=dict)
    """Namespace -> the most bytes that its versions may have together."""
    needs_signature: bool = False
    """Whether what no trusted key has signed is refused, published or read."""
    keys: list[str] = field(default_factory=list)
    """Public keys and certificates, PEM, of those whose signatures count."""
    at: str = ""
    by: str = ""


AnyRecord = ClaimRecord | VersionRecord | YankRecord | MoveRecord | GateRecord | PolicyRecord
Record = TypeVar("Record", bound=AnyRecord)
_KINDS: tuple[type[AnyRecord], ...] = (ClaimRecord, VersionRecord, YankRecord, MoveRecord, GateRecord, PolicyRecord)
_ADAPTERS: dict[type, TypeAdapter[Any]] = {kind: TypeAdapter(kind) for kind in _KINDS}


def to_bytes(record: AnyRecord) -> bytes:
    """Return a record as canonical JSON with its checksum; a field that says nothing new is left out.

    So a record that needs no newer field has the bytes that an older adapterhub wrote and reads.
    """
    return _sealed({name: value for name, value in asdict(record).items() if not _is_unsaid(record, name, value)})


def _is_unsaid(record: AnyRecord, name: str, value: object) -> bool:
    stated = next(known for known in fields(record) if known.name == name)
    if stated.default_factory is not MISSING:
        return bool(value == stated.default_factory())
    return stated.default is not MISSING and value == stated.default


def parse_record(kind: type[Record], data: bytes, key: str) -> Record:
    """Parse a record's bytes. Raises InvalidFolder where any byte of it changed, or where it is newer."""
    try:
        value = json.loads(_unsealed(data))
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


def _unsealed(data: bytes) -> bytes:
    """Return the text that the checksum was taken of, which is the record without the checksum's own line.

    To write the record anew and compare would be plainer, and takes ten times as long for each object of an index.
    """
    seal = _SEAL_LINE.search(data)
    if seal is None:
        raise ValueError("it has no checksum")
    rest = data[:seal.start()] + data[seal.end():]
    if sha256_of_bytes(rest) != (seal[1] or seal[2]).decode():
        raise ValueError("its bytes changed after it was written")
    return rest


def _sealed(value: dict[str, Any]) -> bytes:
    return canonical_json({**value, _SEAL: sha256_of_bytes(canonical_json(value))})
