"""Beside what people do today: one full model per task, each in a server process of its own."""

from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path

from adapterhub.bases.load import Base
from adapterhub.registry import Registry
from benchmarks.http_load import closed_loop, request_of
from benchmarks.report import Figure
from benchmarks.serve_process import one_model_server, our_server, started
from benchmarks.texts import TextSource

N_TOKENS = 24
N_CONNECTIONS = 32
_MIB = 1 << 20


def beside_full_models(base: Base, folders: list[Path], place: Path, n_tasks: tuple[int, ...],
                       seconds: float) -> list[Figure]:
    """Requests per second and memory for 1, 4, ... tasks: one server of adapters, and one full model per task."""
    texts = TextSource(base, 1)
    figures = []
    paths = Registry(place / "registry").paths()
    for n in n_tasks:
        with started(our_server(place)) as server:
            numbers = count()
            ours = _per_s([server.url], lambda _: request_of("/v1/predict", {"rows": [
                {"adapter": paths[next(numbers) % n], "text": texts.text(N_TOKENS)}]}), seconds)  # noqa: B023
            memory = server.memory_bytes()
        with ExitStack() as stack:
            servers = [stack.enter_context(started(one_model_server(base.source.folder, folder)))
                       for folder in folders[:n]]
            theirs = _per_s([one.url for one in servers],
                            lambda _: request_of("/", {"text": texts.text(N_TOKENS)}), seconds)
            their_memory = sum(one.memory_bytes() for one in servers)
        figures += [Figure(name=f"{n} tasks: requests per second, one base with adapters", value=ours, unit="1/s"),
                    Figure(name=f"{n} tasks: requests per second, one full model each", value=theirs, unit="1/s"),
                    Figure(name=f"{n} tasks: memory, one base with adapters", value=memory / _MIB, unit="MiB"),
                    Figure(name=f"{n} tasks: memory, one full model each", value=their_memory / _MIB, unit="MiB")]
    return figures


def _per_s(urls: list[str], request: Callable[[int], bytes], seconds: float) -> float:
    """Return requests answered per second, the connections spread over the servers."""
    import threading

    found: list[float] = []
    threads = [threading.Thread(target=lambda url=url: found.append(  # type: ignore[misc]
        closed_loop(url, lambda: request(0), n_connections=max(2, N_CONNECTIONS // len(urls)), seconds=seconds).per_s))
        for url in urls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(found)
