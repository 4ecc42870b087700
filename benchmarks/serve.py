"""How much of the engine reaches a client over HTTP, and how the server holds under load, overload and moving aliases.

A process of its own serves; this one sends the load, on loopback. The engine that it is compared with is driven here,
in turn with the load, so that whatever else the machine does meets both alike. Requests carry one row each unless
said otherwise; lengths and popularity of adapters are those of `scale`.

What bound holds, and why. On two processors the server's one computing thread has one, and its event loop shares the
other with the client that measures it: what HTTP costs is hidden while both fit there. A latency at 70 % of saturation
is that of a queue before one server that computes batches: a row waits for the batch before its own, so p99 is about
three batches where p50 is one and a half. Of the seconds until it is ready, most are the libraries' own imports, which
one processor does one after the other: what they take alone stands beside it, measured in the same run.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from adapterhub.costs.many import ManyAdapters, name_of
from adapterhub.registry import Registry
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.engine import Runtime
from benchmarks.adapters_made import Recipe, embedded_base, publish_all, scratch_folder, write_adapters
from benchmarks.http_load import Connection, Load, Reply, closed_loop, open_loop, request_of
from benchmarks.popularity import slora_trace
from benchmarks.report import Figure, Options, median_figure, run
from benchmarks.serve_moves import moving_alias
from benchmarks.serve_process import ServerProcess, import_seconds, our_server, started
from benchmarks.serve_today import beside_full_models
from benchmarks.texts import TextSource

N_TOKENS = (8, 128)
N_CONNECTIONS = 96
FEW, MANY = 5, 1000
N_FOLDERS = 16
N_COLD = 24
DEADLINE_MS = 1000
ENGINE_ROWS = 32
"""Rows of one call of the engine: about what the server's batches hold of such lengths."""

_SATURATED = "rows per second over HTTP, 1 per request"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How long each part takes."""

    round_s: float
    n_rounds: int
    steady_s: float
    overload_s: float
    moving_s: float
    n_tasks: tuple[int, ...]


QUICK = Sizes(round_s=2.0, n_rounds=4, steady_s=10.0, overload_s=5.0, moving_s=10.0, n_tasks=(1, 4))
FULL = Sizes(round_s=4.0, n_rounds=12, steady_s=40.0, overload_s=20.0, moving_s=60.0, n_tasks=(1, 4, 16))


class Rows:
    """Rows of the trace, without end: who asks which adapter with how long a text."""

    def __init__(self, texts: TextSource, n_adapters: int, seed: int) -> None:
        trace = slora_trace(n_requests=4000, n_adapters=n_adapters, rate_per_s=1.0, n_tokens=N_TOKENS, seed=seed)
        self._rows = itertools.cycle([(name_of(one.adapter), texts.text(one.n_tokens)) for one in trace])

    def take(self, n_rows: int) -> list[tuple[str, str]]:
        """Return the next rows as (reference, text)."""
        return list(itertools.islice(self._rows, n_rows))

    def request(self, n_rows: int = 1, **headers: str) -> bytes:
        """Return the next rows as one request."""
        rows = [{"adapter": reference, "text": text} for reference, text in self.take(n_rows)]
        return request_of("/v1/predict", {"rows": rows}, **headers)


def measure(options: Options) -> list[Figure]:
    """Serve from a process of its own: saturation, many adapters, cold ones, latency, overload, moves, full models."""
    base, sizes = embedded_base(), QUICK if options.is_quick else FULL
    with scratch_folder() as place:
        folders = write_adapters(place / "folders", base, Recipe(), range(options.seed, options.seed + N_FOLDERS))
        cold = write_adapters(place / "cold", base, Recipe(), range(options.seed + 100, options.seed + 100 + N_COLD))
        registry = Registry(place / "registry")
        references = [version.path for version in publish_all(registry, cold)]
        texts = TextSource(base, options.seed)
        rows = {n: Rows(texts, n, options.seed) for n in (FEW, MANY)}
        with started(our_server(place)) as server:
            figures = [Figure(name="start to ready", value=server.seconds_to_ready, unit="s", at_most=4.0),
                       Figure(name="of that, what torch and transformers take to import", value=import_seconds(),
                              unit="s")]
            _load_all(server)
            figures += _cold_beside_warm(server, references, texts)
            engine = Runtime(base, ManyAdapters(folders, registry), config=RuntimeConfig(slots_bytes=8 << 30))
            figures += _saturation(server, engine, rows, sizes)
            engine.close()
            per_s = next(figure.value for figure in figures if figure.name == _SATURATED)
            figures += _latency(server, rows[MANY], 0.7 * per_s, sizes)
            figures += _overload(server, rows[MANY], 5 * per_s, sizes)
            figures += moving_alias(server, registry, cold[:2], base, sizes.moving_s)
        figures += beside_full_models(base, cold, place, sizes.n_tasks, sizes.round_s)
    return figures


def _load_all(server: ServerProcess) -> None:
    """Have every adapter in its slot, and the allocator at its size."""
    names = [name_of(i) for i in range(MANY)]
    for i in range(0, MANY, 250):
        load = open_loop(server.url, [(0.0, request_of("/v1/predict", {"rows": [
            {"adapters": names[i:i + 250], "text": "my card"}]}, X_Deadline_Ms="120000"))])
        assert load.answered, load.replies[0].body


def _saturation(server: ServerProcess, engine: Runtime, rows: dict[int, Rows], sizes: Sizes) -> list[Figure]:
    """The engine, the server with one row and with eight a request, and with few adapters, in turn."""
    engine.predict(rows[MANY].take(ENGINE_ROWS))
    contenders: dict[str, Callable[[], float]] = {
        "engine in process": lambda: _engine_rows_per_s(engine, rows[MANY], sizes.round_s),
        "HTTP, 1 per request": lambda: _http_rows_per_s(server, rows[MANY], 1, sizes.round_s),
        "HTTP, 8 per request": lambda: _http_rows_per_s(server, rows[MANY], 8, sizes.round_s),
        "HTTP, 5 adapters": lambda: _http_rows_per_s(server, rows[FEW], 1, sizes.round_s),
    }
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for i in range(-1, sizes.n_rounds):  # the first round warms up
        for name, measured in contenders.items():
            value = measured()
            if i >= 0:
                found[name].append(value)
    engine_s, one, eight, few = found.values()
    return [
        median_figure("rows per second, engine in process", engine_s, "1/s"),
        median_figure(_SATURATED, one, "1/s"),
        median_figure("rows per second over HTTP, 8 per request", eight, "1/s"),
        median_figure("over HTTP over engine, 1 row per request", _ratios(one, engine_s), "x", at_least=0.85),
        median_figure("over HTTP over engine, 8 rows per request", _ratios(eight, engine_s), "x", at_least=0.85),
        median_figure("over HTTP, 1000 adapters over 5", _ratios(one, few), "x", at_least=0.95),
    ]


def _ratios(values: list[float], over: list[float]) -> list[float]:
    return [value / other for value, other in zip(values, over, strict=True)]


def _engine_rows_per_s(engine: Runtime, rows: Rows, seconds: float) -> float:
    started_at, n_rows = time.perf_counter(), 0
    while time.perf_counter() - started_at < seconds:
        engine.predict(rows.take(ENGINE_ROWS))
        n_rows += ENGINE_ROWS
    return n_rows / (time.perf_counter() - started_at)


def _http_rows_per_s(server: ServerProcess, rows: Rows, n_rows: int, seconds: float) -> float:
    load = closed_loop(server.url, lambda: rows.request(n_rows), n_connections=max(16, N_CONNECTIONS // n_rows),
                       seconds=seconds)
    assert len(load.answered) == len(load.replies), [reply for reply in load.replies if reply.status != 200][:1]
    return n_rows * load.per_s


def _cold_beside_warm(server: ServerProcess, references: list[str], texts: TextSource) -> list[Figure]:
    """One request after another: an adapter on disk that nobody asked for yet, and one in its slot, in turn."""
    asked = itertools.chain.from_iterable((reference, name_of(0)) for reference in references)
    requests = iter([request_of("/v1/predict", {"rows": [{"adapter": reference, "text": texts.text(16)}]})
                     for reference in asked])
    load = _one_by_one(server, requests)
    cold, warm = ([1e3 * reply.seconds for reply in load[i::2]] for i in (0, 1))
    return [median_figure("latency, warm adapter", warm, "ms"), median_figure("latency, cold adapter", cold, "ms"),
            Figure(name="cold adapter's first answer over a warm one's", unit="ms", at_most=15.0,
                   value=float(np.median(cold) - np.median(warm)), n_runs=len(cold))]


def _one_by_one(server: ServerProcess, requests: Iterator[bytes]) -> list[Reply]:
    import asyncio

    async def ask() -> list[Reply]:
        connection = Connection(server.url)
        replies = [await connection.ask(request) for request in requests]
        connection.close()
        return replies
    return asyncio.run(ask())


def _poisson(rows: Rows, rate_per_s: float, seconds: float, **headers: str) -> list[tuple[float, bytes]]:
    random = np.random.default_rng(7)
    times = np.cumsum(random.exponential(1 / rate_per_s, int(rate_per_s * seconds)))
    return [(float(at), rows.request(1, **headers)) for at in times]


def _latency(server: ServerProcess, rows: Rows, rate_per_s: float, sizes: Sizes) -> list[Figure]:
    load = open_loop(server.url, _poisson(rows, rate_per_s, sizes.steady_s))
    assert len(load.answered) == len(load.replies), [reply.status for reply in load.replies if reply.status != 200]
    p50, p99 = np.percentile([1e3 * reply.seconds for reply in load.answered], [50, 99])
    return [Figure(name="p50 at 70 % of saturation", value=float(p50), unit="ms", n_runs=len(load.replies)),
            Figure(name="p99 at 70 % of saturation", value=float(p99), unit="ms", n_runs=len(load.replies)),
            Figure(name="p99 over p50 at 70 % of saturation", value=float(p99 / p50), unit="x", at_most=4.0)]


def _overload(server: ServerProcess, rows: Rows, rate_per_s: float, sizes: Sizes) -> list[Figure]:
    before = server.memory_bytes()
    load = open_loop(server.url, _poisson(rows, rate_per_s, sizes.overload_s, X_Deadline_Ms=str(DEADLINE_MS)))
    grown = (server.memory_bytes() - before) / (1 << 20)
    refused = [reply for reply in load.replies if reply.status == 429]
    other = [reply for reply in load.replies if reply.status not in (200, 429)]
    unsaid = [reply for reply in refused if "retry-after" not in reply.headers.lower()]
    p99 = float(np.percentile([1e3 * reply.seconds for reply in load.answered], 99))
    return [*_told_overload(load, refused),
            Figure(name="p99 of accepted requests at five times saturation", value=p99, unit="ms",
                   at_most=2 * DEADLINE_MS, note=f"deadline {DEADLINE_MS} ms"),
            Figure(name="neither answered nor 429 at five times saturation", value=len(other), unit="requests",
                   at_most=0, note=str(sorted({reply.status for reply in other}))),
            Figure(name="429 without Retry-After", value=len(unsaid), unit="requests", at_most=0),
            Figure(name="memory grown by overload", value=grown, unit="MiB", at_most=64.0)]


def _told_overload(load: Load, refused: list[Reply]) -> list[Figure]:
    return [Figure(name="rows per second at five times saturation", value=load.per_s, unit="1/s"),
            Figure(name="share refused at five times saturation", value=len(refused) / len(load.replies), unit="x")]


if __name__ == "__main__":
    run("serve", measure)
