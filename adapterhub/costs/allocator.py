"""How a measured process keeps freed memory: given back at once to see the method's peak, kept to see its speed.

glibc holds freed memory in arenas of each thread, and by default a peak shows that rather than what was needed:
LoRA over all linear layers then needed more than full fine-tuning. Giving everything back at once mends that and makes
each step up to twice as slow. So a process measures memory first, time afterwards. Without glibc nothing changes.
"""

import ctypes
import sys
from pathlib import Path

from adapterhub.bases.processor import peak_memory_bytes

GIVING_BACK = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_MMAP_THRESHOLD_": "65536"}
"""Environment in which a process starts: one arena, everything from 64 KiB on mapped and unmapped for itself."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt's names for them, malloc.h
_LARGEST_MMAP_THRESHOLD = 32 << 20  # more is refused on 64 bits, mallopt(3)


def give_memory_back() -> None:
    """Give freed memory back to the system from now on, and what is free already."""
    _set(trim_bytes=65536, mmap_bytes=65536)
    if sys.platform == "linux":
        getattr(ctypes.CDLL(None), "malloc_trim", lambda _: 0)(0)


def keep_memory() -> None:
    """Keep freed memory for reuse from now on, as a process that nobody measures does."""
    _set(trim_bytes=1 << 30, mmap_bytes=_LARGEST_MMAP_THRESHOLD)


def forget_peak() -> bool:
    """Let the peak of the resident set begin anew; False where the system cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def peak_above(start_bytes: int) -> int:
    """Return how far the peak lies above an earlier resident set."""
    return max(0, peak_memory_bytes() - start_bytes)


def _set(*, trim_bytes: int, mmap_bytes: int) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, trim_bytes)
        mallopt(_MMAP_THRESHOLD, mmap_bytes)
