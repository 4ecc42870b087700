"""What figures were measured on: the machine without its name, and the versions of what computed."""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import torch

LIBRARIES = ("adapterhub", "torch", "transformers", "peft", "accelerate", "safetensors", "obstore", "numpy",
             "polylora")


def describe_machine() -> dict[str, Any]:
    """Return what the figures were measured on; no name of the machine or its user."""
    return {"processor": processor_name(), "threads": os.cpu_count(),
            "system": f"{platform.system()} {platform.machine()}",
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "")}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that are installed."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def accelerator_name() -> str:
    """Return the GPU's name, else the processor's."""
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else processor_name()


def processor_name() -> str:
    """Return the processor's name as Linux gives it, else what Python knows."""
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text(encoding="utf-8").splitlines() if cpus.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
