"""Who a set of rows is: SHA-256 over them in their order, one row at a time."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any


class RowsDigest:
    """A hash that takes rows in one by one."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, row: Mapping[str, Any]) -> None:
        """Take in the next row; the order of its fields does not count."""
        self._hash.update(f"{json.dumps(row, sort_keys=True, ensure_ascii=False)}\n".encode())

    @property
    def value(self) -> str:
        """The digest of the rows so far, 64 hex digits."""
        return self._hash.hexdigest()


def digest_of_rows(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the digest of rows in their order, 64 hex digits."""
    digest = RowsDigest()
    for row in rows:
        digest.add(row)
    return digest.value


def digest_of_parts(digests: Mapping[str, str]) -> str:
    """Return the digest of several parts, 64 hex digits, of the digest of each by its name."""
    return hashlib.sha256("\n".join(f"{part} {digests[part]}" for part in sorted(digests)).encode()).hexdigest()
