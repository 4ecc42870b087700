"""What the device at hand computes by itself, and the most memory that this process had. It knows no models."""

import re
import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch


def has_native_bfloat16(device: torch.device | None = None) -> bool:
    """Say whether a device, by default the one that training would use, computes bfloat16 by itself."""
    is_cuda = torch.cuda.is_available() if device is None else device.type == "cuda"
    if is_cuda:
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def peak_memory_bytes() -> int:
    """Return the process's highest resident set; on a GPU, the most bytes allocated there."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    with suppress(OSError):  # Linux; getrusage's peak is inherited from the process that started this one
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), flags=re.MULTILINE)
        if found:
            return int(found.group(1)) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
