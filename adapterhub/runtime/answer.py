"""What comes back for a row: its answer and the version that gave it, or why there is none."""

from dataclasses import asdict, dataclass
from typing import Any

from adapterhub.errors import AdapterHubError


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One row's answer, and which version gave it."""

    reference: str | None
    """As it was asked for; None: the bare base's embedding."""
    version: str | None
    """`namespace/name@3`; the folder's path for one that is not published."""
    digest: str | None
    """SHA-256 of that version."""
    task: str
    result: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One row that could not be answered, and why; the batch's other rows are not touched by it."""

    reference: str | None
    error: AdapterHubError

    def to_dict(self) -> dict[str, Any]:
        """Return the failure as plain values."""
        return {"reference": self.reference, "error": str(self.error), "kind": type(self.error).__name__}
