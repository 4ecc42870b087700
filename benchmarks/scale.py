"""What a thousand resident adapters cost beside five, on S-LoRA's trace.

Rows arrive as a Poisson process, faster than the machine answers; popularity is a power law of exponent 1; lengths are
even between 8 and 128 tokens. Whatever has arrived goes into the next call, at most 32 rows. Service times are real;
the clock between them is that of the trace, and each trace has its own, so that both runs take turns call by call and
whatever else the machine does meets both alike. S-LoRA loses 5.5 % between 5 and 1,000 adapters on its own system.

What bound holds, and why. The passes have the same rows and lengths; only the number of distinct adapters in one
differs, about 5 with five adapters and 20 with a thousand. That adds a copy of 15 slots (10 MB) per pass and 15 more
calls of a head. Nothing looks at the adapters that no row names. On bases this small that is most of the difference;
on larger ones it vanishes.
"""

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np

from adapterhub.bases.load import Base
from adapterhub.costs.many import ManyAdapters, name_of
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.engine import Runtime
from benchmarks.adapters_made import Recipe, embedded_base, scratch_folder, write_adapters
from benchmarks.alternation import alternate
from benchmarks.popularity import Request, slora_trace
from benchmarks.report import Figure, Options, median_figure, run, timed
from benchmarks.texts import TextSource

N_ADAPTERS = (5, 1000)
N_TOKENS = (8, 128)
MOST_ROWS = 32
LEAST_SHARE = 0.97
"""Rows per second with 1,000 adapters over those with 5."""
OVERLOAD = 1.2
"""Arrivals per second over what the machine answers."""


def measure(options: Options) -> list[Figure]:
    """Replay S-LoRA's trace with 5 and with 1,000 adapters resident, call by call in turn."""
    base = embedded_base()
    n_calls = 40 if options.is_quick else 400
    with scratch_folder() as place:
        folders = write_adapters(place, base, Recipe(), range(options.seed, options.seed + 16))
        runtimes = {n: _filled(base, folders, n) for n in N_ADAPTERS}
        rate = OVERLOAD * _capacity(runtimes[N_ADAPTERS[0]], TextSource(base, options.seed))
        replays = {n: Replay(runtime, TextSource(base, options.seed),
                             slora_trace(n_requests=(n_calls + 4) * MOST_ROWS, n_adapters=n, rate_per_s=rate,
                                         n_tokens=N_TOKENS, seed=options.seed))
                   for n, runtime in runtimes.items()}
        works: dict[str, Callable[[], object]] = {str(n): replay.answer_next for n, replay in replays.items()}
        seconds = alternate(works, n_rounds=n_calls, n_warmups=2)
        for runtime in runtimes.values():
            runtime.close()
    figures = [figure for n, replay in replays.items() for figure in replay.figures(n, seconds[str(n)])]
    few, many = (seconds[str(n)] for n in N_ADAPTERS)
    shares = [a / b for a, b in zip(few, many, strict=True)]
    return [*figures, median_figure("rows per second, 1000 adapters over 5", shares, "x", at_least=LEAST_SHARE)]


class Replay:
    """One trace, its clock, and the runtime that answers it."""

    def __init__(self, runtime: Runtime, texts: TextSource, trace: list[Request]) -> None:
        self._runtime = runtime
        self._rows = deque((request, texts.text(request.n_tokens)) for request in trace)
        self._clock_s = 0.0
        self._latencies: list[float] = []
        self._n_distinct: list[int] = []

    def answer_next(self) -> None:
        """Answer what has arrived; call it after the last call's time is on the clock."""
        self._clock_s = max(self._clock_s, self._rows[0][0].arrives_s)
        taken: list[tuple[Request, str]] = []
        while self._rows and len(taken) < MOST_ROWS and self._rows[0][0].arrives_s <= self._clock_s:
            taken.append(self._rows.popleft())
        started = time.perf_counter()
        self._runtime.predict([(name_of(request.adapter), text) for request, text in taken])
        self._clock_s += time.perf_counter() - started
        self._latencies += [self._clock_s - request.arrives_s for request, _ in taken]
        self._n_distinct.append(len({request.adapter for request, _ in taken}))

    def figures(self, n_adapters: int, seconds: list[float]) -> list[Figure]:
        """Return rows per second and latencies on the trace's clock."""
        note = f"{np.mean(self._n_distinct):.1f} distinct adapters a call"
        rate = len(self._latencies) / self._clock_s
        p50, p99 = np.percentile(self._latencies, [50, 99])
        return [Figure(name=f"{n_adapters} adapters: rows per second", value=rate, unit="rows/s", note=note),
                Figure(name=f"{n_adapters} adapters: median latency", value=float(p50), unit="s"),
                Figure(name=f"{n_adapters} adapters: 99th percentile latency", value=float(p99), unit="s")]


def _filled(base: Base, folders: list[Path], n_adapters: int) -> Runtime:
    runtime = Runtime(base, ManyAdapters(folders), config=RuntimeConfig(slots_bytes=8 << 30, host_bytes=0))
    for number in range(n_adapters):
        runtime.load(name_of(number))
    return runtime


def _capacity(runtime: Runtime, texts: TextSource) -> float:
    """Return the rows per second of full calls, so that the trace can be a little faster."""
    middle = sum(N_TOKENS) // 2
    rows = [(name_of(i % N_ADAPTERS[0]), texts.text(middle)) for i in range(MOST_ROWS)]
    return MOST_ROWS / float(np.median(timed(lambda: runtime.predict(rows), n_runs=3)))


if __name__ == "__main__":
    run("scale", measure)
