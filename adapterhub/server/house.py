"""What one server process holds: base, follower, batcher, figures, tokens. Built once, before the port opens."""

import logging
from dataclasses import dataclass

from adapterhub.bases.load import Base
from adapterhub.registry import ReadableRegistry
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.engine import Runtime
from adapterhub.server.batcher import Batcher
from adapterhub.server.catalogue import Catalogue
from adapterhub.server.config import ServerConfig
from adapterhub.server.door import DoorState
from adapterhub.server.follow import Follower, FollowProblem, PinnedVersions
from adapterhub.server.limits import HolderLimits
from adapterhub.server.logs import log
from adapterhub.server.lookup import Lookup
from adapterhub.server.metrics import Gauged, Metrics
from adapterhub.server.residents import Residents
from adapterhub.server.service import RowService
from adapterhub.server.token_counter import TokenCounter
from adapterhub.server.tokens import Tokens
from adapterhub.settings import Settings


@dataclass(slots=True, kw_only=True)
class House:
    """Everything that the routes work on."""

    config: ServerConfig
    runtime: Runtime
    follower: Follower
    lookup: Lookup
    batcher: Batcher
    metrics: Metrics
    door: DoorState
    rows: RowService
    residents: Residents
    catalogue: Catalogue
    token_counter: TokenCounter
    base_id: str

    def start(self) -> None:
        """Begin to compute."""
        self.batcher.start()

    def close(self) -> None:
        """End every thread."""
        self.batcher.close()
        self.lookup.close()
        self.runtime.close()

    def why_not_ready(self) -> str | None:
        """Say why it should get no requests; None where it should."""
        if self.door.is_draining:
            return "it is ending"
        return None if self.batcher.is_alive else "the worker has stopped"


def build_house(base: str | Base, registry: ReadableRegistry, tokens: Tokens, *, config: ServerConfig,
                runtime_config: RuntimeConfig | None = None, settings: Settings | None = None) -> House:
    """Load the base and put everything together. Raises BaseNotFound, InvalidConfig."""
    pinned = PinnedVersions(registry)
    runtime = Runtime(base, pinned, config=runtime_config, settings=settings)
    residents = Residents(runtime, pinned)
    follower = Follower(registry, follow_s=config.follow_s, tell=_log_problem, switched=residents.follow,
                        load=lambda version: runtime.load(pinned.keep(version)),
                        fetch=lambda version: runtime.fetch(pinned.keep(version)))
    batcher = Batcher(runtime, config, report=lambda error: log("a batch failed", level=logging.ERROR, error=error))
    metrics = Metrics(lambda: _figures(runtime, batcher, follower))
    lookup = Lookup(follower, config.follow_s)
    door = DoorState(config=config, tokens=tokens, metrics=metrics, needs_tokens=tokens.has_any())
    rows = RowService(config=config, runtime=runtime, registry=pinned, lookup=lookup, batcher=batcher,
                      limits=HolderLimits(config.limits), metrics=metrics)
    return House(config=config, runtime=runtime, follower=follower, lookup=lookup, batcher=batcher, metrics=metrics,
                 door=door, rows=rows, residents=residents, catalogue=Catalogue(registry),
                 token_counter=TokenCounter(runtime.base.tokenizer), base_id=runtime.base.source.id)


def _log_problem(problem: FollowProblem) -> None:
    log("a version cannot serve; the one before it goes on", level=logging.WARNING, reference=problem.reference,
        wanted=problem.wanted, serving=problem.serving, fault=problem.kind)


def _figures(runtime: Runtime, batcher: Batcher, follower: Follower) -> list[Gauged]:
    """Return what the runtime, the queue and the follower count."""
    now, queue = runtime.statistics(), batcher.state()
    return [
        Gauged("passes_total", "Passes through the base.", now.n_passes, is_count=True),
        Gauged("compute_seconds_total", "Seconds of passes.", now.compute_seconds, is_count=True),
        Gauged("adapter_loads_total", "Adapters copied into slots.", now.n_loads, is_count=True),
        Gauged("adapter_load_seconds_total", "Seconds of that.", now.load_seconds, is_count=True),
        Gauged("adapter_evictions_total", "Adapters that left for others.", now.n_evictions, is_count=True),
        Gauged("adapter_registry_reads_total", "Adapters read from the registry.", now.n_registry_reads, is_count=True),
        Gauged("adapter_fetch_failures_total", "Adapters that could not be read.", now.n_fetch_failures, is_count=True),
        Gauged("adapters_resident", "Adapters in slots.", now.n_resident),
        Gauged("slots_bytes", "Memory of adapters in slots.", now.slots_bytes),
        Gauged("host_bytes", "Memory of files that wait for a slot.", now.host_bytes),
        Gauged("queue_rows", "Rows that wait for a pass.", queue.n_rows),
        Gauged("queue_tokens", "About so many tokens of them.", queue.n_tokens),
        Gauged("tokens_per_second", "About so many were computed lately.", queue.tokens_per_s),
        Gauged("batches_total", "Batches computed.", queue.n_batches, is_count=True),
        Gauged("alias_switches_total", "References that went over to another version.", follower.n_switches,
               is_count=True),
        Gauged("follow_problems", "References whose newest version cannot serve.", len(follower.problems())),
    ]
