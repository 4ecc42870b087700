"""The runtime's settings, checked once."""

from dataclasses import dataclass

from adapterhub.errors import InvalidConfig, UnknownName

DTYPES = ("auto", "float32", "bfloat16")
MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeConfig:
    """Type of numbers, budgets of the tiers, size of a pass."""

    dtype: str = "auto"
    """Of the base and the slots: auto is bfloat16 where the processor computes it itself, else float32."""
    device: str = "auto"
    """auto is the first GPU, else the processor."""
    slots_bytes: int = 512 * MIB
    """Memory of adapters in slots; the least worth keeping leave past it."""
    host_bytes: int = 256 * MIB
    """Memory of verified adapter files that wait for a slot; 0 keeps none."""
    disk_bytes: int = 4096 * MIB
    """Disk for adapters of registries that are not on this disk; 0 keeps none."""
    max_slots: int | None = None
    """At most this many adapters in slots, whatever their size; None: `slots_bytes` alone decides."""
    tokens_per_pass: int = 16384
    """Padded tokens of one pass through the base; a larger batch takes several."""
    max_age_s: float = 0.1
    """Seconds after which a waiting row goes before every younger one, whatever adapter is at hand."""
    gather_s: float = 0.01
    """Seconds that a pass waits for adapters under way, so that their rows need no pass of their own."""
    n_fetchers: int = 2
    """Threads that fetch adapters of waiting rows ahead."""
    is_packed: bool = True
    """Reorder the frozen layers' weights for the processor once (oneDNN); the answers differ by rounding alone."""

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise UnknownName("dtype", self.dtype, DTYPES)
        for name, low in (("slots_bytes", 1), ("host_bytes", 0), ("disk_bytes", 0), ("tokens_per_pass", 1),
                          ("n_fetchers", 1), ("max_age_s", 0), ("gather_s", 0)):
            if getattr(self, name) < low:
                raise InvalidConfig(f"{name} is {getattr(self, name)}, expected at least {low}.",
                                    hint=f"Give RuntimeConfig a larger {name}.")
        if self.max_slots is not None and self.max_slots < 1:
            raise InvalidConfig(f"max_slots is {self.max_slots}, expected at least 1 or None.",
                                hint="Leave it out to let slots_bytes decide.")
