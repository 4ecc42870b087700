"""References: `namespace/name`, with `@3`, `@production` or `@sha256:...` behind it. It resolves nothing."""

import re
from dataclasses import dataclass

from adapterhub.errors import InvalidReference

LATEST = "latest"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_ALIAS = re.compile(r"[a-z](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_DIGEST = re.compile(r"sha256:([0-9a-f]{8,64})")
_MOST_DIGITS = 9
_FORM = "namespace/name, namespace/name@3, namespace/name@production or namespace/name@sha256:<8 to 64 hex digits>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One parsed reference; at most one of version, alias and digest is set."""

    namespace: str
    name: str
    version: int | None = None
    """Counted from 1."""
    alias: str | None = None
    digest: str | None = None
    """The first hex digits (8 to 64) of the version's SHA-256, without `sha256:`."""

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Parse a reference. Raises InvalidReference with the forms that are allowed."""
        path, _, selector = text.partition("@")
        namespace, _, name = path.partition("/")
        if not (_is_name(namespace) and _is_name(name)) or ("@" in text and not selector):
            raise _invalid(text)
        if not selector or selector == LATEST:
            return cls(namespace=namespace, name=name)
        if selector.isascii() and selector.isdecimal() and len(selector) <= _MOST_DIGITS and int(selector):
            return cls(namespace=namespace, name=name, version=int(selector))
        if digest := _DIGEST.fullmatch(selector):
            return cls(namespace=namespace, name=name, digest=digest.group(1))
        return cls(namespace=namespace, name=name, alias=require_alias(selector))

    @property
    def path(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    def __str__(self) -> str:
        if self.version is not None:
            return f"{self.path}@{self.version}"
        if self.digest is not None:
            return f"{self.path}@sha256:{self.digest}"
        return f"{self.path}@{self.alias}" if self.alias else self.path


def parse_path(text: str) -> Reference:
    """Parse a reference that must be a bare `namespace/name`. Raises InvalidReference."""
    reference = Reference.parse(text)
    if "@" in text:
        raise InvalidReference(f"{text!r} names a version; here only namespace/name is allowed.",
                               hint=f"Use {reference.path}.")
    return reference


def require_alias(text: str) -> str:
    """Return `text` if it can be an alias. Raises InvalidReference."""
    if not _ALIAS.fullmatch(text) or text == LATEST or ".." in text:
        raise InvalidReference(f"{text!r} cannot be an alias.",
                               hint="An alias starts with a lower-case letter, has at most 64 of a-z 0-9 . _ - "
                                    "and is not 'latest'.")
    return text


def _is_name(text: str) -> bool:
    return bool(_NAME.fullmatch(text)) and ".." not in text


def _invalid(text: str) -> InvalidReference:
    return InvalidReference(f"{text!r} is not a reference.",
                            hint=f"Write {_FORM}, in lower case, without spaces.")
