"""What the device at hand computes by itself, and the most memory that this process had. It knows no models."""

import os
import re
import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

N_KEPT_KERNELS = 32
"""Of each cache. A step of one length takes about twenty."""


def keep_few_kernels() -> None:
    """Let oneDNN and torch's layer above it keep little of the code that they make for each shape of a batch.

    To be called before the first matrix product; what a user has set stays. By default each keeps 1,024 kernels, and
    training on texts of many lengths then grew by 300 MB in 120 steps, for no time that could be told from noise.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, str(N_KEPT_KERNELS))


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
