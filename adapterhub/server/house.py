"""What one server process holds: base, follower, what computes, figures, tokens. Built once, before the port opens."""

import logging
from dataclasses import dataclass, field, replace

from adapterhub.bases.load import Base, load_base
from adapterhub.registry import ReadableRegistry
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.engine import Runtime
from adapterhub.runtime.generation.engine import Generator
from adapterhub.runtime.generation.settings import GeneratorConfig
from adapterhub.server.answered import AnswerListener
from adapterhub.server.batcher import Batcher
from adapterhub.server.catalogue import Catalogue
from adapterhub.server.config import ServerConfig
from adapterhub.server.door import DoorState
from adapterhub.server.errors import Conflict
from adapterhub.server.figures import figures
from adapterhub.server.follow import Follower, FollowProblem, PinnedVersions
from adapterhub.server.keeper import Keeper, open_keeper
from adapterhub.server.limits import HolderLimits
from adapterhub.server.logs import log
from adapterhub.server.lookup import Lookup
from adapterhub.server.metrics import Metrics
from adapterhub.server.residents import Residents
from adapterhub.server.service import RowService
from adapterhub.server.token_counter import TokenCounter
from adapterhub.server.tokens import Tokens
from adapterhub.server.tracing import Tracer
from adapterhub.server.worker import Worker
from adapterhub.server.writer import Writer
from adapterhub.server.writing import WritingService
from adapterhub.settings import Settings

_WRITERS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
"""How transformers' names of architectures that write text end."""


@dataclass(slots=True, kw_only=True)
class House:
    """Everything that the routes work on: rows for a base that reads, writing for one that writes."""

    config: ServerConfig
    base: Base
    rows: RowService | None
    writing: WritingService | None
    pinned: PinnedVersions
    follower: Follower
    lookup: Lookup
    residents: Residents
    catalogue: Catalogue
    metrics: Metrics
    door: DoorState
    token_counter: TokenCounter
    keeper: Keeper | None
    """None where no feedback is kept."""
    listeners: list[AnswerListener] = field(default_factory=list)
    """Told of every answer; the keeper is one of them."""

    @property
    def base_id(self) -> str:
        """What callers know the base by."""
        return self.base.source.id

    def require_rows(self) -> RowService:
        """Return what answers rows. Raises Conflict where this base writes."""
        if self.rows is None:
            raise Conflict(f"This server's base {self.base_id} writes text, it answers no rows.",
                           hint="Use POST /v1/completions or /v1/chat/completions.")
        return self.rows

    def require_writing(self) -> WritingService:
        """Return what writes. Raises Conflict where this base reads."""
        if self.writing is None:
            raise Conflict(f"This server's base {self.base_id} writes no text.",
                           hint="Start one with a language model: adapterhub serve --base DIR.")
        return self.writing

    def require_keeper(self) -> Keeper:
        """Return what keeps feedback. Raises Conflict where nothing does."""
        if self.keeper is None:
            raise Conflict("This server keeps no feedback.", hint="Start it with --feedback PLACE.")
        return self.keeper

    def reference_of(self, model: str) -> str | None:
        """Return the reference that a client's `model` means; None: the bare base, by its own id."""
        return None if model == self.base_id else model

    def start(self) -> None:
        """Begin to compute."""
        for worker in self._workers():
            worker.start()

    def close(self) -> None:
        """End every thread."""
        for worker in self._workers():
            worker.close()
        self.lookup.close()
        for engine in (self.rows and self.rows.runtime, self.writing and self.writing.generator):
            if engine:
                engine.close()
        if self.keeper:
            self.keeper.store.close()
        if self.door.tracer:
            self.door.tracer.close()

    def why_not_ready(self) -> str | None:
        """Say why it should get no requests; None where it should."""
        if self.door.is_draining:
            return "it is ending"
        return None if all(worker.is_alive for worker in self._workers()) else "the worker has stopped"

    def _workers(self) -> list[Worker]:
        """Return the threads; the keeper last, so that it hears the others' last answers."""
        return [*([self.rows.batcher] if self.rows else []), *([self.writing.writer] if self.writing else []),
                *([self.keeper] if self.keeper else [])]


def build_house(base: str | Base, registry: ReadableRegistry, tokens: Tokens, *, config: ServerConfig,
                runtime_config: RuntimeConfig | None = None, settings: Settings | None = None,
                tracer: Tracer | None = None) -> House:
    """Load the base and put everything together; `runtime_config` is another than the usual of this kind of base.

    Raises BaseNotFound, InvalidConfig, StorageError.
    """
    settings = settings or Settings.from_environment()
    keeper = open_keeper(config.feedback) if config.feedback else None  # first: it fails fast
    loaded = load_base(base, cache=settings.cache) if isinstance(base, str) else base
    pinned = PinnedVersions(registry)
    runtime = generator = None
    if writes_text(loaded):
        usual = replace(GeneratorConfig().runtime, slots_bytes=config.slots_bytes)
        budgets = GeneratorConfig(runtime=runtime_config or usual)
        generator = Generator(loaded, pinned, config=budgets, settings=settings)
    else:
        usual = RuntimeConfig(slots_bytes=config.slots_bytes)
        runtime = Runtime(loaded, pinned, config=runtime_config or usual, settings=settings)
    residents = Residents(runtime, generator, pinned)
    follower = Follower(registry, follow_s=config.follow_s, tell=_log_problem, switched=residents.follow,
                        load=residents.load, fetch=residents.fetch)
    lookup, limits = Lookup(follower, config.follow_s), HolderLimits(config.limits)
    listeners: list[AnswerListener] = [keeper.hear] if keeper else []
    rows = writing = None
    metrics = Metrics(lambda: figures(rows, writing, follower, keeper))
    if runtime is not None:
        batcher = Batcher(runtime, config, report=lambda error: log("a batch failed", level=logging.ERROR, error=error))
        rows = RowService(config=config, runtime=runtime, registry=pinned, lookup=lookup, batcher=batcher,
                          limits=limits, metrics=metrics, listeners=listeners)
    if generator is not None:
        writer = Writer(generator, report=lambda error: log("a step failed", level=logging.ERROR, error=error))
        writing = WritingService(config=config, generator=generator, registry=pinned, lookup=lookup, writer=writer,
                                 limits=limits, metrics=metrics, listeners=listeners)
    door = DoorState(config=config, tokens=tokens, metrics=metrics,
                     needs_tokens=not config.is_loopback or tokens.has_any(), tracer=tracer)
    if tracer is not None:
        for maker in (rows and rows.batcher, writing and writing.writer):
            if maker:
                maker.make_traces()
    return House(config=config, base=loaded, rows=rows, writing=writing, pinned=pinned, follower=follower,
                 lookup=lookup, residents=residents, catalogue=Catalogue(registry), metrics=metrics, door=door,
                 listeners=listeners, token_counter=TokenCounter(loaded.tokenizer), keeper=keeper)


def writes_text(base: Base) -> bool:
    """Say whether a base is a language model that writes, by the architecture that its config names."""
    names = base.config.architectures or ()
    return bool(base.config.is_encoder_decoder) or any(name.endswith(_WRITERS) for name in names)


def _log_problem(problem: FollowProblem) -> None:
    log("a version cannot serve; the one before it goes on", level=logging.WARNING, reference=problem.reference,
        wanted=problem.wanted, serving=problem.serving, fault=problem.kind)
