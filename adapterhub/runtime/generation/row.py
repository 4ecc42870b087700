"""One row that writes: what was asked, what it has so far, and what came of it."""

from dataclasses import asdict, dataclass, field
from typing import Any

from adapterhub.errors import AdapterHubError
from adapterhub.registry import Version
from adapterhub.runtime.generation.key_values import Need
from adapterhub.runtime.generation.likelihood import Likelihood
from adapterhub.runtime.generation.sampler import Sampler
from adapterhub.runtime.generation.settings import GenerationSettings
from adapterhub.runtime.generation.text import TextPieces
from adapterhub.runtime.loaded import LoadedAdapter

STOP, LENGTH, CANCELLED, DEADLINE = "stop", "length", "cancelled", "deadline"
"""Why a row ended: at a stop condition, at its `max_new_tokens`, because it was told to, or its time was over."""


@dataclass(frozen=True, slots=True)
class TokenPiece:
    """One new token, and the text that became certain with it, which may be empty."""

    token: int
    text: str
    likelihood: Likelihood | None = None
    """Where the row's settings ask for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """One row's answer, and which version wrote it."""

    reference: str | None
    """As it was asked for; None: the bare base."""
    version: str | None
    """`namespace/name@3`."""
    digest: str | None
    """SHA-256 of that version."""
    text: str
    tokens: list[int]
    """New ones, the one that ended the row included."""
    n_prompt_tokens: int
    finish_reason: str
    """`stop`, `length`, `cancelled` or `deadline`."""

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain values."""
        return asdict(self)


@dataclass(slots=True, eq=False, kw_only=True)
class WritingRow:
    """One row on its way, waiting or in flight."""

    reference: str | None
    version: Version | None
    prompt: list[int]
    start: list[int]
    """What its own sequence begins with: the prompt, or a decoder's start."""
    settings: GenerationSettings
    sampler: Sampler
    text: TextPieces
    stop_tokens: frozenset[int]
    need: Need
    enqueued_at: float
    """Seconds of a monotonic clock."""
    deadline: float | None = None
    """On the same clock; None: it may take as long as it takes."""
    is_abandoned: bool = False
    """Whether nobody can read it any more; the next step lets it go."""
    adapter: LoadedAdapter | None = None
    """Set, and pinned, while the row is in flight."""
    tokens: list[int] = field(default_factory=list)
    pieces: list[TokenPiece] = field(default_factory=list)
    finish_reason: str | None = None
    error: AdapterHubError | None = None

    @property
    def is_done(self) -> bool:
        """Whether nothing more will come."""
        return self.finish_reason is not None or self.error is not None

    def is_late(self, now: float) -> bool:
        """Say whether its time is over."""
        return self.deadline is not None and now > self.deadline

    @property
    def digest(self) -> str:
        """Of its version; empty for the bare base."""
        return self.version.digest if self.version else ""

    def take(self, token: int, likelihood: Likelihood | None = None) -> None:
        """Add a new token, and end where it ends the row."""
        self.tokens.append(token)
        is_last = token in self.stop_tokens
        text = "" if is_last else self.text.add(token)
        if is_last or self.text.is_stopped:
            reason = STOP
        elif len(self.tokens) >= self.settings.max_new_tokens:
            reason = LENGTH
        else:
            self.pieces.append(TokenPiece(token, text, likelihood))
            return
        self.pieces.append(TokenPiece(token, text + self.text.finish(), likelihood))
        self.finish_reason = reason

    def answer(self) -> Generated:
        """Return what was written. Raises the row's own error."""
        if self.error is not None:
            raise self.error
        return Generated(reference=self.reference, version=self.version.reference if self.version else None,
                         digest=self.version.digest if self.version else None,
                         text="".join(piece.text for piece in self.pieces), tokens=list(self.tokens),
                         n_prompt_tokens=len(self.prompt), finish_reason=self.finish_reason or CANCELLED)
