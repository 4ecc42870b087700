"""Bearer tokens: who may do what in which namespaces. Only their hashes are kept, one small file for each.

A file is created once; revoking removes it, and a running server notices within a second.
"""

import contextlib
import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from adapterhub.adapter.reference import Reference
from adapterhub.errors import AdapterNotFound, InvalidConfig, InvalidFolder, InvalidReference, UnknownName, near_misses
from adapterhub.files import canonical_json, storage_errors, write_atomic

SCOPES = ("predict", "feedback", "manage")
PREFIX = "ah"
ANY_NAMESPACE = "*"
_LOOK_AGAIN_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """One token as it is kept: everything but the token."""

    id: str
    name: str
    """Whose it is, in words."""
    sha256: str
    scopes: tuple[str, ...]
    namespaces: tuple[str, ...]
    """`*` means all."""
    created_at: str
    """UTC, ISO 8601."""
    expires_at: str | None = None

    def is_expired(self, now: datetime) -> bool:
        """Say whether its time is over."""
        return self.expires_at is not None and now >= datetime.fromisoformat(self.expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who asks, and what they may do."""

    id: str
    scopes: tuple[str, ...]
    namespaces: tuple[str, ...]

    def may(self, scope: str) -> bool:
        """Say whether the token has a scope."""
        return scope in self.scopes

    def sees(self, namespace: str) -> bool:
        """Say whether the token has rights in a namespace."""
        return ANY_NAMESPACE in self.namespaces or namespace in self.namespaces

    @property
    def sees_all(self) -> bool:
        """Whether no namespace is closed to it."""
        return ANY_NAMESPACE in self.namespaces


ANYBODY = Holder(id="anybody", scopes=SCOPES, namespaces=(ANY_NAMESPACE,))
"""Who asks where no token was ever made: only possible on loopback."""


class Tokens:
    """The tokens of one folder. Thread-safe: each is one file, and none is ever changed."""

    def __init__(self, place: Path, *, clock: Callable[[], datetime] | None = None) -> None:
        self._place, self._clock = place, clock or _utc_now
        self._by_hash: dict[str, TokenRecord] = {}
        self._has_any = False
        self._looked_at = float("-inf")

    def create(self, name: str, scopes: Sequence[str], namespaces: Sequence[str] = (ANY_NAMESPACE,),
               expires_at: datetime | None = None) -> tuple[str, TokenRecord]:
        """Make a token and keep its hash; the token itself is returned once. Raises InvalidConfig, UnknownName."""
        if not name.strip():
            raise InvalidConfig("A token's name is empty.", hint="Say in a word or two whose it is.")
        if not scopes:
            raise InvalidConfig("A token without a scope can do nothing.", hint=f"Give {', '.join(SCOPES)}.")
        for scope in scopes:
            if scope not in SCOPES:
                raise UnknownName("scope", scope, SCOPES)
        for namespace in namespaces:
            _require_namespace(namespace)
        now = self._clock()
        if expires_at is not None and expires_at <= now:
            raise InvalidConfig(f"The token would have expired at {expires_at.isoformat()}.",
                                hint="Give a time to come.")
        token_id = secrets.token_hex(4)
        token = f"{PREFIX}_{token_id}_{secrets.token_urlsafe(32)}"
        record = TokenRecord(id=token_id, name=name.strip(), sha256=_hash(token), scopes=tuple(sorted(set(scopes))),
                             namespaces=tuple(sorted(set(namespaces))), created_at=now.isoformat(timespec="seconds"),
                             expires_at=None if expires_at is None else expires_at.isoformat(timespec="seconds"))
        write_atomic(self._file(token_id), canonical_json(asdict(record)))  # mode 600: as mkstemp makes it
        return token, record

    def list(self) -> "TokenRecords":
        """Return every token's record, oldest first. Raises InvalidFolder for a damaged file."""
        if not self._place.is_dir():
            return []
        with storage_errors(self._place):
            found = [_read(path) for path in self._place.glob("*.json")]
        return sorted(found, key=lambda record: (record.created_at, record.id))

    def revoke(self, token_id: str) -> TokenRecord:
        """Let a token be known no more. Raises AdapterNotFound where there is none."""
        known = {record.id: record for record in self.list()}
        if token_id not in known:
            raise AdapterNotFound(token_id, where=f"{self._place} (tokens)", near=near_misses(token_id, known),
                                  hint="" if near_misses(token_id, known) else "Try `adapterhub token list`.")
        with storage_errors(self._place):
            self._file(token_id).unlink(missing_ok=True)
        return known[token_id]

    def holder_of(self, token: str) -> Holder | None:
        """Return who holds a token; None where it is unknown, revoked or expired."""
        record = self._table().get(_hash(token))
        if record is None or record.is_expired(self._clock()):
            return None
        return Holder(id=record.id, scopes=record.scopes, namespaces=record.namespaces)

    def has_any(self) -> bool:
        """Say whether there is any token here, looked at a moment ago; one that cannot be read is one too.

        A folder that cannot be looked into may hold some: the door stays closed.
        """
        self._table()
        return self._has_any

    def _table(self) -> Mapping[str, TokenRecord]:
        """Return the tokens by hash, read again when the last look is a while ago."""
        now = time.monotonic()
        if now - self._looked_at > _LOOK_AGAIN_S:
            self._by_hash = {record.sha256: record for record in self._readable()}
            self._has_any = self._may_hold_any()
            self._looked_at = now
        return self._by_hash

    def _readable(self) -> "TokenRecords":
        """Return the tokens whose files can be read: a damaged one's token is unknown, the others go on."""
        found = []
        for path in self._place.glob("*.json"):
            with contextlib.suppress(InvalidFolder, OSError):
                found.append(_read(path))
        return found

    def _may_hold_any(self) -> bool:
        try:
            return any(path.suffix == ".json" for path in self._place.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True

    def _file(self, token_id: str) -> Path:
        return self._place / f"{token_id}.json"


TokenRecords = list[TokenRecord]


def default_place(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the user's own folder of tokens (ADAPTERHUB_TOKENS, else below XDG_DATA_HOME)."""
    if given := environment.get("ADAPTERHUB_TOKENS"):
        return Path(given)
    home = Path(environment.get("HOME") or Path.home())
    return Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share") / "adapterhub" / "tokens"


def _hash(token: str) -> str:
    # One round is enough: a token has 256 random bits, there is nothing to guess.
    return hashlib.sha256(token.encode()).hexdigest()


def _read(path: Path) -> TokenRecord:
    try:
        value = json.loads(path.read_bytes())
        record = TokenRecord(**value | {name: tuple(value[name]) for name in ("scopes", "namespaces")})
        record.is_expired(datetime.now(UTC))
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidFolder(str(path), ["it is no token record"], hint="Remove the file; its token ends.") from error
    return record


def _require_namespace(namespace: str) -> None:
    if namespace == ANY_NAMESPACE:
        return
    try:
        Reference.parse(f"{namespace}/x")
    except InvalidReference as error:
        raise InvalidConfig(f"{namespace!r} cannot be a namespace.", hint="Give its name, or * for all.") from error


def _utc_now() -> datetime:
    return datetime.now(UTC)
