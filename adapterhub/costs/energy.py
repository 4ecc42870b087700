"""Energy as the machine itself counts it: NVML for a GPU, RAPL for a processor; None where neither can be read."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
NOT_MEASURABLE = "not measurable here"


@dataclass(frozen=True, slots=True)
class EnergyCounter:
    """A counter of joules since some moment, and what it counts."""

    what: str
    read_joules: Callable[[], float]


def find_counter(powercap: Path = POWERCAP) -> EnergyCounter | None:
    """Return the GPU's counter where there is one, else the processors', else None."""
    return _gpu_counter() or _processor_counter(powercap)


def _processor_counter(powercap: Path) -> EnergyCounter | None:
    """RAPL's packages; each file counts microjoules. Source: Linux, Documentation/power/powercap/powercap.rst."""
    files = sorted(powercap.glob("intel-rapl:[0-9]*/energy_uj"))
    readable = [file for file in files if file.parent.name.count(":") == 1 and _reads(file)]
    if not readable:
        return None
    return EnergyCounter("processor packages, RAPL",
                         lambda: sum(int(file.read_text(encoding="ascii")) for file in readable) / 1e6)


def _reads(file: Path) -> bool:
    try:
        return file.read_text(encoding="ascii").strip().isdecimal()
    except OSError:  # since 2020 only the superuser may
        return False


def _gpu_counter() -> EnergyCounter | None:
    if importlib.util.find_spec("pynvml") is None:
        return None
    import pynvml  # type: ignore[import-not-found,unused-ignore]  # optional: NVIDIA's own bindings

    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError:
        return None
    return EnergyCounter("GPU, NVML", lambda: float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3)
