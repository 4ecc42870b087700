"""The server's figures for Prometheus: counts, latencies and sizes by adapter. No text is ever a label."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
BARE = "base"
"""How the bare base is named where an adapter would be."""


@dataclass(frozen=True, slots=True)
class Gauged:
    """One figure that is asked for when it is read."""

    name: str
    what: str
    value: float
    is_count: bool = False
    """Whether it only grows."""


class Metrics:
    """Figures of one server. Thread-safe as Prometheus's own."""

    def __init__(self, read: Callable[[], list[Gauged]]) -> None:
        """`read` gives the figures that others count: the runtime's, the queue's, the follower's."""
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry, "namespace": "adapterhub"}
        self._rows = Counter("rows", "Rows asked for, by what came of them.", ("adapter", "outcome"), **own)
        self._seconds = Histogram("row_seconds", "From the request to its answer.", ("adapter",),
                                  buckets=SECONDS, **own)
        self._tokens = Counter("tokens", "Tokens, about so many read or exactly so many written.", ("adapter", "kind"),
                               **own)
        self._requests = Counter("requests", "Requests by address and status.", ("route", "status"), **own)
        self._request_seconds = Histogram("request_seconds", "From the first byte to the last.", ("route",),
                                          buckets=SECONDS, **own)
        self._feedback = Counter("feedback", "Answers that somebody said something of, by what.", ("adapter", "kind"),
                                 **own)
        self._ratings = Histogram("feedback_rating", "From 0, of no use, to 1, right.", ("adapter",),
                                  buckets=(0.0, 0.25, 0.5, 0.75, 1.0), **own)
        self._labels = Counter("feedback_labels", "True labels by whether they are the answer's.",
                               ("adapter", "answer"), **own)
        self.in_flight = Gauge("requests_in_flight", "Requests that are being answered.", **own)
        self.streams = Gauge("streams", "Rows that are being written.", **own)
        self.registry.register(_Read(read))

    def row(self, adapter: str | None, outcome: str, seconds: float, n_tokens: int = 0) -> None:
        """Count one row; `adapter` is `namespace/name` of one that was found, never what somebody wrote."""
        name = adapter or BARE
        self._rows.labels(name, outcome).inc()
        if outcome == "answered":
            self._seconds.labels(name).observe(seconds)
            self._tokens.labels(name, "read").inc(n_tokens)

    def written(self, adapter: str | None, n_tokens: int) -> None:
        """Count tokens that were written."""
        self._tokens.labels(adapter or BARE, "written").inc(n_tokens)

    def feedback(self, adapter: str | None, kinds: Iterable[str], rating: float | None, is_right: bool | None) -> None:
        """Count what somebody said of an answer: a rating, and whether the true label is the answer's."""
        name = adapter or BARE
        for kind in kinds:
            self._feedback.labels(name, kind).inc()
        if rating is not None:
            self._ratings.labels(name).observe(rating)
        if is_right is not None:
            self._labels.labels(name, "right" if is_right else "wrong").inc()

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count one request by its route's pattern."""
        self._requests.labels(route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Return everything in Prometheus's text form."""
        return generate_latest(self.registry)


class _Read(Collector):
    """Asks for figures when they are collected."""

    def __init__(self, read: Callable[[], list[Gauged]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Any]:
        """Yield each figure as it is now."""
        for figure in self._read():
            family = CounterMetricFamily if figure.is_count else GaugeMetricFamily
            yield family(f"adapterhub_{figure.name}", figure.what, value=figure.value)
