"""What a generator has done so far, as a record. It counts nothing itself."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationStatistics:
    """Counts and bytes since the generator was made, and how it stands."""

    n_rows: int
    """Rows that ended, whatever ended them."""
    n_failures: int
    n_tokens: int
    n_passes: int
    n_running: int
    n_waiting: int
    n_resident: int
    """Adapters in slots."""
    n_loads: int
    n_evictions: int
    cache_bytes: int
    """Memory of keys and values."""
    slots_bytes: int
    """Memory of resident adapters."""
