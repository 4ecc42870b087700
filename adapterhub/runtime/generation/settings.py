"""How one row writes, and how much a generator holds: checked once, never changed."""

from dataclasses import dataclass, field

from adapterhub.errors import InvalidConfig
from adapterhub.runtime.config import MIB, RuntimeConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationSettings:
    """One row's own: how tokens are chosen, and when it ends."""

    max_new_tokens: int = 64
    """The row ends after this many, if nothing has ended it before."""
    temperature: float = 0.0
    """0 takes the likeliest token (greedy); above it tokens are drawn, the flatter the higher."""
    top_k: int = 0
    """Draw among this many likeliest tokens; 0 sets no limit."""
    top_p: float = 1.0
    """Draw among the likeliest tokens that together have this probability."""
    repetition_penalty: float | None = None
    """Above 1 makes tokens that have occurred less likely; None: what the base's generation config says."""
    seed: int = 0
    """Of this row's own draws; what else is in the batch does not touch them."""
    stop_strings: tuple[str, ...] = ()
    """The row ends where its text holds one of them; the text is cut before it."""
    stop_token_ids: tuple[int, ...] = ()
    """The row ends with one of these tokens; its text leaves it out."""
    stops_at_eos: bool = True
    """Whether the base's own end-of-text tokens end the row."""
    n_likeliest: int | None = None
    """Tell each new token's log-probability, and so many likeliest tokens' beside it; None tells none."""

    def __post_init__(self) -> None:
        for name, low in (("max_new_tokens", 1), ("temperature", 0), ("top_k", 0)):
            if not getattr(self, name) >= low:
                raise InvalidConfig(f"{name} is {getattr(self, name)}, expected at least {low}.",
                                    hint=f"Give GenerationSettings a larger {name}.")
        if self.n_likeliest is not None and self.n_likeliest < 0:
            raise InvalidConfig(f"n_likeliest is {self.n_likeliest}, expected at least 0.", hint="None tells none.")
        if not 0 < self.top_p <= 1:
            raise InvalidConfig(f"top_p is {self.top_p}, expected above 0 and at most 1.", hint="1 sets no limit.")
        if self.repetition_penalty is not None and not self.repetition_penalty > 0:
            raise InvalidConfig(f"repetition_penalty is {self.repetition_penalty}, expected above 0.",
                                hint="1 changes nothing.")
        stops: object = self.stop_strings
        if not isinstance(stops, tuple) or not all(isinstance(stop, str) and stop for stop in stops):
            raise InvalidConfig(f"stop_strings is {self.stop_strings!r}, expected several texts, none of them empty.",
                                hint='Give a tuple: ("###",).')


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorConfig:
    """Budgets of a generator."""

    runtime: RuntimeConfig = field(default_factory=lambda: RuntimeConfig(dtype="float32", is_packed=False))
    """Type of numbers, device, budgets of adapters; `tokens_per_pass` limits the prompts that one pass reads.

    float32 unless asked otherwise: one greedy token that bfloat16 sees differently changes all that follow. Weights are
    not packed: for steps of 16 tokens packed ones reached 0.65 of the plain layers' speed.
    """
    cache_bytes: int = 256 * MIB
    """Memory of keys and values of all rows in flight; rows that do not fit wait."""
    max_rows: int = 64
    """Rows in flight at once."""

    def __post_init__(self) -> None:
        for name in ("cache_bytes", "max_rows"):
            if getattr(self, name) < 1:
                raise InvalidConfig(f"{name} is {getattr(self, name)}, expected at least 1.",
                                    hint=f"Give GeneratorConfig a larger {name}.")
