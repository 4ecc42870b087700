"""What a batch of many adapters costs beside the bare base, and beside PEFT and PolyLoRA, by popularity as in Punica.

Each contender gets the same token ids, all of one length. The bare base is stock transformers without any head; the
others compute their heads too: one linear layer, because PEFT refuses a batch of mixed adapters whose heads are more
(BERT's own pooler). PolyLoRA drops heads; it computes the base's. A row's adapter is drawn as Punica defines it.

What bound holds, and why. Rank 8 in every linear layer adds 3 % to the base's multiplications, in matrices too thin
for the processor's best speed; the frozen layers' packed weights win back about as much. What grows with the number of
distinct adapters is a copy of their slots per pass (0.7 MB each), and one call of a head each. With 16 instead of 64
tokens a row these weigh four times as much (1.3 times the base), so those cells are shown without a target. Rank 64
adds 25 % of multiplications and reads 5 MB of tensors per adapter: with 32 distinct ones the pass takes 1.5 times the
base's, whether slots are copied layer by layer, read in place in one batched product, or a row at a time.

Where the processor has matrix units (AMX) the base's own products take a third of the time, and what is added to a
layer's output does not: adding zero to the outputs of all layers takes as long as adding the product does, 12 ms beside
61 ms of the base's products (one thread), and A's products read the inputs once more, 6 ms. There the bound is 1.2, not
1.08; only a kernel that adds while it multiplies would be below it, and torch has none for processors.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from adapterhub.adapter.folder import read_folder
from adapterhub.bases.load import Base
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.loaded import LoadedAdapter
from adapterhub.runtime.shared_base import SharedBase
from adapterhub.tasks.batch import collate
from adapterhub.tasks.task import Example
from benchmarks.adapters_made import Recipe, embedded_base, scratch_folder, write_adapters
from benchmarks.alternation import Seconds, alternate, ratio_figure
from benchmarks.peers import Inputs, PeftPeer, PolyLoraPeer, StockBase, has_polylora
from benchmarks.popularity import POPULARITIES, adapter_of_row
from benchmarks.report import Figure, Options, run
from benchmarks.texts import TextSource

ROWS = (8, 32)
RANKS = (8, 64)
TOKENS = 64
FEW_TOKENS = 16
MOST_OVER_BASE = 1.08
"""For 32 rows of 32 rank-8 adapters."""
MOST_DIFFERENCE = 0.1
"""Of the logits' standard deviation: in bfloat16 each of some 60 roundings on the way has 2**-9 of a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One batch."""

    dtype: str
    n_rows: int
    rank: int
    popularity: str
    n_tokens: int

    @property
    def name(self) -> str:
        """How the table calls it."""
        return f"{self.dtype}, {self.n_rows} rows, rank {self.rank}, {self.popularity}, {self.n_tokens} tokens"

    @property
    def is_headline(self) -> bool:
        """Whether it is the cell whose ratio to the bare base has a target."""
        return (self.n_rows, self.rank, self.popularity, self.n_tokens) == (32, 8, "distinct", TOKENS)


def measure(options: Options) -> list[Figure]:
    """Time mixed batches in the runtime beside the bare base, PEFT and PolyLoRA, interleaved."""
    base, figures = embedded_base(), []
    dtypes = ("auto",) if options.is_quick else ("auto", "float32")
    with scratch_folder() as place:
        for rank in RANKS:
            recipe = Recipe(rank=rank, head=("classifier",))
            folders = write_adapters(_made(place, f"rank-{rank}"), base, recipe, range(options.seed, max(ROWS)))
            for dtype in dtypes:
                contenders = Contenders(base, recipe, folders, dtype)
                for cell in _cells(dtype, rank, options):
                    figures += _measure_cell(cell, contenders, base, options)
    return figures


class Contenders:
    """All of them with the same adapters resident."""

    def __init__(self, base: Base, recipe: Recipe, folders: Sequence[Path], dtype: str) -> None:
        self.shared = SharedBase(base, RuntimeConfig(dtype=dtype, slots_bytes=4 << 30))
        self.adapters: list[LoadedAdapter] = [self.shared.adapters.load(read_folder(folder), in_use=())
                                              for folder in folders]
        self.stock = StockBase(base, self.shared.dtype)
        self.names = [folder.name for folder in folders]
        self.peft = PeftPeer(base, recipe, self.shared.dtype, (self.names[0], folders[0]))
        for name, folder in zip(self.names[1:], folders[1:], strict=True):
            self.peft.load(name, folder)
        self.polylora = PolyLoraPeer(base, recipe, self.shared.dtype, len(folders)) if has_polylora() else None
        for name, folder in zip(self.names, folders, strict=True):
            if self.polylora:
                self.polylora.load(name, folder)

    def logits(self, examples: Sequence[Example], adapters: Sequence[int]) -> torch.Tensor:
        """Return the runtime's logits [B, L]."""
        placed = [(self.adapters[adapter], example) for adapter, example in zip(adapters, examples, strict=True)]
        return torch.stack([outputs[0] for outputs in self.shared.compute(placed)])

    def works(self, examples: Sequence[Example], adapters: Sequence[int],
              inputs: Inputs) -> dict[str, Callable[[], object]]:
        """Return what is timed, by contender."""
        names = [self.names[adapter] for adapter in adapters]
        works: dict[str, Callable[[], object]] = {
            "runtime": partial(self.logits, examples, adapters), "base": partial(self.stock.run, inputs),
            "PEFT": partial(self.peft.logits, inputs, names)}
        if self.polylora:
            works["PolyLoRA"] = partial(self.polylora.logits, inputs, names)
        return works


def _cells(dtype: str, rank: int, options: Options) -> list[Cell]:
    few = [(32, "distinct", FEW_TOKENS)] if options.is_quick else [
        (n_rows, popularity, FEW_TOKENS) for n_rows in ROWS for popularity in POPULARITIES]
    usual = [(n_rows, popularity, TOKENS) for n_rows in ROWS for popularity in POPULARITIES]
    return [Cell(dtype=dtype, n_rows=n_rows, rank=rank, popularity=popularity, n_tokens=n_tokens)
            for n_rows, popularity, n_tokens in usual + few]


def _measure_cell(cell: Cell, contenders: Contenders, base: Base, options: Options) -> list[Figure]:
    texts, random = TextSource(base, options.seed), np.random.default_rng(options.seed)
    examples = [texts.example(cell.n_tokens) for _ in range(cell.n_rows)]
    adapters = adapter_of_row(cell.n_rows, cell.popularity, random)
    inputs = collate([example.sequences[0] for example in examples], pad_id=0)
    works = contenders.works(examples, adapters, inputs)
    n_rounds = (5 if options.is_quick else 20) * (4 if cell.is_headline else 1)
    seconds = alternate(works, n_rounds=n_rounds)
    figures = _ratios(cell, seconds)
    if cell.is_headline:
        figures.append(_difference(cell, contenders, examples, adapters, inputs))
    return figures


def _ratios(cell: Cell, seconds: Seconds) -> list[Figure]:
    has_target = cell.n_tokens == TOKENS
    most = MOST_OVER_BASE if cell.is_headline else None
    figures = [ratio_figure(f"runtime over base: {cell.name}", seconds["runtime"], seconds["base"], at_most=most)]
    return figures + [ratio_figure(f"{peer} over runtime: {cell.name}", seconds[peer], seconds["runtime"],
                                   at_least=1.0 if has_target else None) for peer in ("PEFT", "PolyLoRA")
                      if peer in seconds]


def _difference(cell: Cell, contenders: Contenders, examples: Sequence[Example], adapters: Sequence[int],
                inputs: Inputs) -> Figure:
    """Hold the runtime's logits against PEFT's: a fast wrong answer is worth nothing."""
    ours = contenders.logits(examples, adapters)
    theirs = contenders.peft.logits(inputs, [contenders.names[adapter] for adapter in adapters]).float()
    return Figure(name=f"largest difference to PEFT's logits: {cell.name}", unit="standard deviations",
                  value=float((ours - theirs).abs().max() / theirs.std()), at_most=MOST_DIFFERENCE)


def _made(place: Path, name: str) -> Path:
    (place / name).mkdir()
    return place / name


if __name__ == "__main__":
    run("mixed_batch", measure)
