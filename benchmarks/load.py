"""How long from an adapter on disk until a row can be answered, and whether it grows with the adapters resident.

What bound holds, and why. A load reads one megabyte, takes its SHA-256 (0.6 of 2.5 ms here, half of what it takes
longer than a plain read), compares the file's header with the plan of its structure, and copies it once into fresh
pages. Nothing looks at the adapters that are there, so the thousandth load costs what the first does. PEFT walks every
module of every resident adapter several times for each load. The first load of each structure of file (rank, targets,
labels) is checked tensor by tensor; it takes about 10 ms more and is not in these figures.

Beside PEFT the same load takes 3.2 to 4.4 ms instead of 2.7: PEFT's own drives everything out of the caches. So 11 to
15 times as fast was measured with 1 resident (15 is asked), and 375 to 550 times with 256 (400 is asked): the targets
are met on a calm machine only. Against PolyLoRA, which compares no digest and drops heads, four times as fast would be
faster than the library's own read of the file and one copy: 1.25 to 1.5 was measured, and 1.8 is the most that can be.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file

from adapterhub.adapter.peft_config import WEIGHTS_FILE
from adapterhub.bases.load import Base
from adapterhub.costs.many import ManyAdapters, name_of
from adapterhub.registry import ReadableRegistry, Registry
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.device import device_of, dtype_of
from adapterhub.runtime.engine import Runtime
from benchmarks.adapters_made import Recipe, embedded_base, publish_all, scratch_folder, write_adapters
from benchmarks.alternation import Seconds, undisturbed
from benchmarks.peers import PeftPeer, PolyLoraPeer, has_polylora
from benchmarks.report import Figure, Options, median_figure, run

RESIDENT = (1, 32, 256, 1000)
PEFT_RESIDENT = (1, 256)
POLYLORA_RESIDENT = 32
RECIPE = Recipe()
N_TIMED = 16
"""Adapters that are loaded, and unloaded again, in turn."""
CONFIG = RuntimeConfig(slots_bytes=8 << 30, host_bytes=0)
"""Room for all, and every load reads the disk."""


class Loader(Protocol):
    """What is timed."""

    def load(self, number: int) -> None:
        """Load the timed adapter of this number."""

    def unload(self, number: int) -> None:
        """Take it out again, untimed."""


def measure(options: Options) -> list[Figure]:
    """Time loading with 1 to 1000 adapters resident, beside reading the file and one copy, PEFT and PolyLoRA."""
    base = embedded_base()
    seconds: Seconds = {}
    with scratch_folder() as place:
        folders = write_adapters(place, base, RECIPE, range(options.seed, options.seed + N_TIMED))
        registry = Registry(place / "registry")
        references = [version.reference for version in publish_all(registry, folders)]
        ours = {n: Ours(base, ManyAdapters(folders, registry), references, n) for n in RESIDENT}
        loaders: dict[str, Loader] = {_ours_at(n): own for n, own in ours.items()}
        plain = Plain(folders, dtype_of("auto", device_of("auto")))
        time_in_turn(loaders | {_PLAIN: plain}, 32 if options.is_quick else 256, seconds)
        for n, own in ours.items():  # peers last: a model that grew and is gone leaves the allocator slower
            if peers := _peers_at(n, base, folders):
                time_in_turn({_ours_beside_peer(n): own} | peers, _n_peer_loads(n, options), seconds)
            own.runtime.close()
    return _figures(seconds)


_PLAIN = "safetensors read and one copy"
_POLYLORA = f"PolyLoRA load, {POLYLORA_RESIDENT} resident"


def _ours_at(n_resident: int) -> str:
    return f"load, {n_resident} resident"


def _ours_beside_peer(n_resident: int) -> str:
    return f"load, {n_resident} resident, in turn with a peer"


def _peft_at(n_resident: int) -> str:
    return f"PEFT load, {n_resident} resident"


def _n_peer_loads(n_resident: int, options: Options) -> int:
    """With 256 resident, one load by PEFT takes a second and more."""
    return (2 if n_resident == max(PEFT_RESIDENT) else 8) * (1 if options.is_quick else 4)


def _peers_at(n_resident: int, base: Base, folders: Sequence[Path]) -> dict[str, Loader]:
    if n_resident in PEFT_RESIDENT:
        return {_peft_at(n_resident): _Peft(base, folders, n_resident)}
    if n_resident == POLYLORA_RESIDENT and has_polylora():
        return {_POLYLORA: _PolyLora(base, folders)}
    return {}


def time_in_turn(loaders: dict[str, Loader], n_rounds: int, seconds: Seconds) -> None:
    """Add the seconds of each loader's loads to `seconds`, one load of each in turn."""
    for i in range(-1, n_rounds):  # the first round warms up
        for name, loader in loaders.items():
            started = time.perf_counter()
            loader.load(i % N_TIMED)
            if i >= 0:
                seconds.setdefault(name, []).append(time.perf_counter() - started)
            loader.unload(i % N_TIMED)


class Ours:
    """Runtime.load by a reference of a registry on this disk."""

    def __init__(self, base: Base, registry: ReadableRegistry, references: Sequence[str], n_resident: int) -> None:
        self._references = references
        self.runtime = Runtime(base, registry, config=CONFIG)
        for number in range(n_resident):
            self.runtime.load(name_of(number))

    def load(self, number: int) -> None:
        """Load from the registry."""
        self.runtime.load(self._references[number])

    def unload(self, number: int) -> None:
        """Free the slot."""
        self.runtime.unload(self._references[number])


class Plain:
    """The least that any loader does: the library reads the file, and each tensor is copied to its place."""

    def __init__(self, folders: Sequence[Path], dtype: torch.dtype) -> None:
        self._files = [folder / WEIGHTS_FILE for folder in folders]
        self._dtype = dtype

    def load(self, number: int) -> None:
        """Read and copy."""
        tensors = load_file(self._files[number])
        place = torch.empty(sum(map(torch.numel, tensors.values())), dtype=self._dtype)
        end = 0
        for values in tensors.values():
            start, end = end, end + values.numel()
            place[start:end].view(values.shape).copy_(values)

    def unload(self, number: int) -> None:
        """Nothing is kept."""


class _Peft:
    """`load_adapter` with other adapters in the model."""

    def __init__(self, base: Base, folders: Sequence[Path], n_resident: int) -> None:
        self._folders = folders
        self._peer = PeftPeer(base, RECIPE, torch.float32, ("resident-0", folders[0]))
        self._peer.fill([f"resident-{i}" for i in range(1, n_resident)])

    def load(self, number: int) -> None:
        self._peer.load("timed", self._folders[number])

    def unload(self, number: int) -> None:
        self._peer.unload("timed")


class _PolyLora:
    """`load_adapter_from_disk` and into a slot; it has no way to unload, so each load takes a new name."""

    def __init__(self, base: Base, folders: Sequence[Path]) -> None:
        self._folders, self._n_loads = folders, 0
        self._peer = PolyLoraPeer(base, RECIPE, torch.float32, n_slots=POLYLORA_RESIDENT + 64)
        for number in range(POLYLORA_RESIDENT):
            self.load(number % N_TIMED)

    def load(self, number: int) -> None:
        self._n_loads += 1
        self._peer.load(f"adapter-{self._n_loads}", self._folders[number])

    def unload(self, number: int) -> None:
        pass


def _figures(seconds: Seconds) -> list[Figure]:
    figures = [median_figure(name, [1e3 * value for value in values], "ms") for name, values in seconds.items()]
    best = {name: undisturbed(values) for name, values in seconds.items()}
    figures += [Figure(name=f"load over {_PLAIN}, {n} resident", value=best[_ours_at(n)] / best[_PLAIN], unit="x",
                       at_most=2.0) for n in RESIDENT]
    figures.append(Figure(name="load with 1000 resident over 1 resident", unit="x", at_most=1.25,
                          value=best[_ours_at(1000)] / best[_ours_at(1)]))
    figures += [Figure(name=f"PEFT over load, {n} resident", unit="x", at_least=limit,
                       value=best[_peft_at(n)] / best[_ours_beside_peer(n)])
                for n, limit in zip(PEFT_RESIDENT, (15.0, 400.0), strict=True)]
    if _POLYLORA in best:
        figures.append(Figure(name=f"PolyLoRA over load, {POLYLORA_RESIDENT} resident", unit="x", at_least=4.0,
                              value=best[_POLYLORA] / best[_ours_beside_peer(POLYLORA_RESIDENT)]))
    return figures


if __name__ == "__main__":
    run("load", measure)
