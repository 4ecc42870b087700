"""The server's settings, checked once."""

import ipaddress
import math
from dataclasses import dataclass, field
from pathlib import Path

from adapterhub.errors import InvalidConfig

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one caller may ask for, and how much may wait."""

    body_bytes: int = 4 * MIB
    """Of one request."""
    rows: int = 512
    """Of one request, each adapter of a row counted."""
    row_tokens: int = 65536
    """About so many of one row, its candidates and its long context together: a row is computed in one go."""
    new_tokens: int = 1024
    """That one row may write."""
    queued_rows: int = 2048
    """Rows that wait for a pass; past it requests are refused. One holder of a token takes at most half of them."""
    rows_per_s: float = 0.0
    """Rows that one holder may ask for, over a few seconds; 0 sets no limit."""
    streams: int = 64
    """Rows of one holder that write at once."""
    deadline_s: float = 30.0
    """A request waits this long unless it says otherwise; what it says is cut to ten times this."""
    writes_s: float = 300.0
    """A row that writes ends after so long, with what it has, unless the request says otherwise."""
    body_s: float = 10.0
    """Seconds in which a request's head must have come, and then its body."""

    def __post_init__(self) -> None:
        for name in ("body_bytes", "rows", "row_tokens", "new_tokens", "queued_rows", "streams"):
            if getattr(self, name) < 1:
                raise InvalidConfig(f"{name} is {getattr(self, name)}, expected at least 1.", hint=f"Raise {name}.")
        for name in ("deadline_s", "writes_s", "body_s"):
            if not getattr(self, name) > 0:
                raise InvalidConfig(f"{name} is {getattr(self, name)}, expected above 0.", hint=f"Raise {name}.")
        if not self.rows_per_s >= 0:
            raise InvalidConfig(f"rows_per_s is {self.rows_per_s}, expected at least 0.", hint="0 sets no limit.")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackConfig:
    """Where answers and what people say of them are kept, and for how long."""

    place: str
    """A file, or a SQLAlchemy URL."""
    stores_inputs: bool = False
    """Whether rows, answers and corrections are kept too, without e-mail addresses, phone and card numbers."""
    texts_days: float = 30.0
    answers_days: float = 365.0
    phone_regions: tuple[str, ...] | None = None
    """Whose national ways to write a phone number are looked for; None: some large ones."""

    def __post_init__(self) -> None:
        for name in ("texts_days", "answers_days"):
            if not 0 < getattr(self, name) < math.inf:
                raise InvalidConfig(f"{name} is {getattr(self, name)}, expected above 0.", hint="Give a time in days.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Where the server listens, how it gathers and follows, and what it allows."""

    host: str = "127.0.0.1"
    port: int = 8000
    """0 takes a free one."""
    certificate: Path | None = None
    """PEM; with `key` it speaks TLS."""
    key: Path | None = None
    gather_s: float = 0.002
    """A row waits at most so long for others to share its pass."""
    tokens_per_batch: int = 2048
    """About so many tokens are computed together. On two cores 32 short texts reached the most rows per second; more
    only let the next ones wait longer."""
    follow_s: float = 0.5
    """An alias or `latest` that was looked up longer ago is looked up again."""
    slots_bytes: int = 512 * MIB
    """Memory of adapters that are loaded; past it those least worth keeping leave."""
    drain_s: float = 30.0
    """Told to stop, it lets running requests finish for so long."""
    limits: Limits = field(default_factory=Limits)
    feedback: FeedbackConfig | None = None
    """None: answers are not kept, and feedback is refused."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise InvalidConfig(f"port is {self.port}, expected 0 to 65535.", hint="0 takes a free one.")
        if (self.certificate is None) != (self.key is None):
            raise InvalidConfig("TLS needs a certificate and its key, only one was given.",
                                hint="Give --certificate and --key.")
        for path in (self.certificate, self.key):
            if path is not None and not path.is_file():
                raise InvalidConfig(f"No such file: {path}.", hint="Give the PEM files of the certificate and its key.")
        for name, low in (("gather_s", 0), ("tokens_per_batch", 1), ("slots_bytes", 1), ("drain_s", 0)):
            if not getattr(self, name) >= low:
                raise InvalidConfig(f"{name} is {getattr(self, name)}, expected at least {low}.", hint=f"Raise {name}.")
        if not self.follow_s > 0:
            raise InvalidConfig(f"follow_s is {self.follow_s}, expected above 0.", hint="Half a second is usual.")

    @property
    def is_loopback(self) -> bool:
        """Whether nobody outside this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"
