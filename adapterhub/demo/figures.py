"""Everything that a demo measured, as frozen records; `to_dict` gives it to programs."""

from dataclasses import asdict, dataclass
from typing import Any

from adapterhub.costs.figures import ArmFigures
from adapterhub.costs.scale import ScaleLine


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedFigures:
    """One adapter that the demo trained and published."""

    reference: str
    digest: str
    size_bytes: int
    trained_parameters: int
    seconds: float
    n_test_rows: int
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedFigures:
    """The mixed batch."""

    answers: list[dict[str, Any]]
    """Each with its reference, version, digest, task and result."""
    n_adapters: int
    n_passes: int
    """Through the base, counted by the runtime."""
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Requests in a row that one version answered."""

    version: str
    first: int
    """Number of the first request, from 1."""
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapFigures:
    """The stream of requests under which the alias moved and was rolled back."""

    n_requests: int
    failures: list[str]
    phases: list[Phase]
    """In order: before the move, after it, after the rollback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoFigures:
    """The whole demo."""

    base_fingerprint: str
    base_parameters: int
    trained: list[TrainedFigures]
    mixed: MixedFigures
    swap: SwapFigures
    adapter: ArmFigures
    full: ArmFigures
    scale: list[ScaleLine]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return asdict(self)
