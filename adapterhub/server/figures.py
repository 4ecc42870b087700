"""What the runtime, the generator, the queue and the follower count, as figures for Prometheus."""

from adapterhub.runtime.generation.statistics import GenerationStatistics
from adapterhub.runtime.statistics import Statistics
from adapterhub.server.follow import Follower
from adapterhub.server.keeper import Keeper
from adapterhub.server.metrics import Gauged
from adapterhub.server.service import RowService
from adapterhub.server.writing import WritingService


def figures(rows: RowService | None, writing: WritingService | None, follower: Follower,
            keeper: Keeper | None) -> list[Gauged]:
    """Return every figure as it is now; may wait for a pass."""
    found = [Gauged("alias_switches_total", "References that went over to another version.", follower.n_switches,
                    is_count=True),
             Gauged("follow_problems", "References whose newest version cannot serve.", len(follower.problems()))]
    return (found + (_of_rows(rows) if rows else []) + (_of_writing(writing) if writing else [])
            + (_of_keeper(keeper) if keeper else []))


def _of_adapters(now: Statistics | GenerationStatistics) -> list[Gauged]:
    return [
        Gauged("passes_total", "Passes through the base.", now.n_passes, is_count=True),
        Gauged("adapter_loads_total", "Adapters copied into slots.", now.n_loads, is_count=True),
        Gauged("adapter_evictions_total", "Adapters that left for others.", now.n_evictions, is_count=True),
        Gauged("adapters_resident", "Adapters in slots.", now.n_resident),
        Gauged("slots_bytes", "Memory of adapters in slots.", now.slots_bytes),
    ]


def _of_rows(service: RowService) -> list[Gauged]:
    now, queue = service.runtime.statistics(), service.batcher.state()
    return [
        *_of_adapters(now),
        Gauged("compute_seconds_total", "Seconds of passes.", now.compute_seconds, is_count=True),
        Gauged("adapter_load_seconds_total", "Seconds of loading.", now.load_seconds, is_count=True),
        Gauged("adapter_registry_reads_total", "Adapters read from the registry.", now.n_registry_reads, is_count=True),
        Gauged("adapter_fetch_failures_total", "Adapters that could not be read.", now.n_fetch_failures, is_count=True),
        Gauged("host_bytes", "Memory of files that wait for a slot.", now.host_bytes),
        Gauged("queue_rows", "Rows that wait for a pass.", queue.n_rows),
        Gauged("queue_tokens", "About so many tokens of them.", queue.n_tokens),
        Gauged("tokens_per_second", "About so many were computed lately.", queue.tokens_per_s),
        Gauged("batches_total", "Batches computed.", queue.n_batches, is_count=True),
    ]


def _of_writing(service: WritingService) -> list[Gauged]:
    now = service.generator.statistics()
    return [
        *_of_adapters(now),
        Gauged("cache_bytes", "Memory of keys and values.", now.cache_bytes),
        Gauged("queue_rows", "Rows that wait for a pass.", now.n_waiting),
        Gauged("rows_writing", "Rows that write.", now.n_running),
    ]


def _of_keeper(keeper: Keeper) -> list[Gauged]:
    return [
        Gauged("feedback_waiting", "Answers and feedback that are not written yet.", keeper.n_waiting),
        Gauged("feedback_answers_lost_total", "Answers that could not be written: their feedback will be refused.",
               keeper.n_lost, is_count=True),
        Gauged("feedback_texts_lost_total", "Answers that were kept without their texts, for want of time.",
               keeper.n_texts_lost, is_count=True),
    ]
