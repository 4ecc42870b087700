"""What is left of the speed when more adapters are in use than there are slots: half, as many, twice, eight times.

Rows ask for adapters drawn evenly, the worst case for any cache. Each working set has a runtime of its own with the
same slots; they take turns batch by batch. Speed inside the slots is that of a working set as large as the slots.

What bound holds, and why. A batch of 32 rows over W adapters and S = 32 slots asks for D = W (1 - (1 - 1/W)**32)
distinct ones and misses D (1 - S/W) of them: 13 at twice, 26 at eight times the slots. A miss whose files wait in host
memory costs one copy into a slot, about 1 ms; from disk it is read ahead by other threads while rows wait. So the loss
is about (misses x 1 ms) / (time of the batch's pass), and the larger the base and the longer the texts, the smaller it
is. A cache without host memory, or one that evicts what the next row wants, falls by factors instead.
"""

from collections.abc import Callable
from pathlib import Path

from adapterhub.bases.load import Base
from adapterhub.costs.many import ManyAdapters, name_of
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.engine import Runtime
from benchmarks.adapters_made import Recipe, embedded_base, scratch_folder, write_adapters
from benchmarks.alternation import alternate, ratio_figure
from benchmarks.popularity import uniform_batches
from benchmarks.report import Figure, Options, median_figure, run
from benchmarks.texts import TextSource

N_SLOTS = 32
N_ROWS = 32
N_TOKENS = 64
SHARES = (0.5, 1, 2, 8)
"""Working set over slots."""
TARGETS = {2: 0.90, 8: 0.80}
RECIPE = Recipe()


def measure(options: Options) -> list[Figure]:
    """Time batches whose adapters are drawn evenly from 0.5 to 8 times as many as there are slots."""
    base = embedded_base()
    with scratch_folder() as place:
        streams = {_name(share): Stream(base, place, int(share * N_SLOTS), options) for share in SHARES}
        works: dict[str, Callable[[], object]] = {name: stream.answer_batch for name, stream in streams.items()}
        seconds = alternate(works, n_rounds=30 if options.is_quick else 300, n_warmups=3)
        figures = [median_figure(f"{name}: rows per second", [N_ROWS / value for value in values], "rows/s",
                                 note=streams[name].note) for name, values in seconds.items()]
        inside = seconds[_name(1)]
        figures += [ratio_figure(f"{_name(share)}: speed over that inside the slots", inside, seconds[_name(share)],
                                 at_least=TARGETS.get(int(share)) if share > 1 else None) for share in SHARES]
        for stream in streams.values():
            stream.runtime.close()
    return figures


class Stream:
    """Batches of rows for one working set, and the runtime that answers them."""

    def __init__(self, base: Base, place: Path, n_adapters: int, options: Options) -> None:
        made = place / f"{n_adapters}-adapters"
        made.mkdir()
        folders = write_adapters(made, base, RECIPE, range(options.seed, options.seed + min(n_adapters, 16)))
        config = RuntimeConfig(max_slots=N_SLOTS, slots_bytes=1 << 30)
        self.runtime = Runtime(base, ManyAdapters(folders), config=config)
        self._texts, self._batches = TextSource(base, options.seed), uniform_batches(N_ROWS, n_adapters, options.seed)
        for number in range(n_adapters):  # every adapter was in use before
            self.runtime.load(name_of(number))

    def answer_batch(self) -> None:
        """Answer the next batch."""
        self.runtime.predict([(name_of(adapter), self._texts.text(N_TOKENS)) for adapter in next(self._batches)])

    @property
    def note(self) -> str:
        """What the runtime counted."""
        facts = self.runtime.statistics()
        return f"{facts.n_loads} loads, {facts.n_host_hits} from memory, {facts.rows_per_pass:.0f} rows a pass"


def _name(share: float) -> str:
    return f"{share:g}x the slots"


if __name__ == "__main__":
    run("cliff", measure)
