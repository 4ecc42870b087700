"""What a runtime has done so far, as a record and as a table's lines. It counts nothing itself."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Counts, seconds and bytes since the runtime was made."""

    n_rows: int
    n_failures: int
    """Rows that got an error of their own."""
    n_passes: int
    compute_seconds: float
    wait_seconds: float
    """Sum over rows, from being asked to the begin of their pass."""
    n_loads: int
    load_seconds: float
    """In slots, fetching apart."""
    n_hits: int
    """Rows' adapters that were resident."""
    n_evictions: int
    n_resident: int
    n_host_hits: int
    n_disk_hits: int
    n_registry_reads: int
    n_fetch_failures: int
    slots_bytes: int
    """Memory of resident adapters, heads included."""
    host_bytes: int
    """Memory of files that wait for a slot."""

    @property
    def rows_per_pass(self) -> float:
        """How full passes are."""
        return self.n_rows / self.n_passes if self.n_passes else 0.0

    def lines(self) -> list[tuple[str, str]]:
        """Return (what, value) for a table."""
        facts = {**asdict(self), "rows_per_pass": self.rows_per_pass}
        return [(name.replace("_", " ").removeprefix("n "), f"{value:,.3f}" if isinstance(value, float)
                 else f"{value:,}") for name, value in facts.items()]
