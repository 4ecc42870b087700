"""What serves while it is measured answers rows and swaps tasks; past what was loaded, a line is drawn and marked."""

from pathlib import Path

import pytest

from adapterhub.costs.energy import find_counter
from adapterhub.costs.serving import (
    ADAPTERS,
    ONE_PROCESS,
    PROCESSES,
    Resident,
    ServedTasks,
    drawn_out,
    measure_serving,
    together,
)
from adapterhub.costs.serving_process import AdaptersServed, ModelsServed
from adapterhub.settings import Settings


def served(n_tasks: int, memory_bytes: int, *, is_extrapolated: bool = False) -> ServedTasks:
    return ServedTasks(way=ONE_PROCESS, n_tasks=n_tasks, memory_bytes=memory_bytes, start_seconds=2.0 * n_tasks,
                       rows_per_s=9.0, swap_seconds=1.0, is_extrapolated=is_extrapolated)


def test_line_is_drawn_through_the_fewest_and_the_most_that_were_loaded() -> None:
    loaded = [served(1, 500), served(2, 590), served(4, 800)]
    drawn = drawn_out([*loaded, served(16, 1, is_extrapolated=True)], ONE_PROCESS, 64)
    assert (drawn.memory_bytes, drawn.start_seconds) == (500 + 63 * 100, 128.0)
    assert drawn.is_extrapolated
    assert (drawn.rows_per_s, drawn.swap_seconds) == (None, None), "speed is not drawn out"


def test_adapters_answer_a_mixture_and_take_a_new_one(tiny_base_folder: Path, tiny_adapters: dict[str, Path],
                                                      tiny_settings: Settings) -> None:
    serving = AdaptersServed(str(tiny_base_folder), tiny_adapters["intents3"], tiny_settings)
    serving.hold(3)
    assert serving.answer() == 32
    held = set(serving.digests())
    assert len(held) == 3, "each task is an adapter of its own"
    serving.swap()
    assert len(held & set(serving.digests())) == 2, "one left, and one that was never there came"
    serving.hold(5)
    assert len(set(serving.digests())) == 5


def test_whole_models_have_weights_of_their_own(tiny_base_folder: Path, tiny_adapters: dict[str, Path],
                                                tiny_settings: Settings) -> None:
    serving = ModelsServed(str(tiny_base_folder), tiny_adapters["intents3"], tiny_settings)
    serving.hold(2)
    assert serving.answer() == 32
    first, second = ({value.untyped_storage().data_ptr() for value in model.parameters()} for model in serving.models)
    assert not first & second
    serving.swap()
    assert serving.answer() == 32
    assert len(serving.models) == 2


def test_every_way_is_measured_in_processes_that_hold_more_and_more(tiny_base_folder: Path,
                                                                    tiny_adapters: dict[str, Path]) -> None:
    served = measure_serving(str(tiny_base_folder), tiny_adapters["intents3"], (1, 2, 8), 2, seconds=0.1)
    assert [(one.way, one.n_tasks, one.is_extrapolated) for one in served] == [
        (way, n, way != ADAPTERS and n == 8) for way in (ADAPTERS, ONE_PROCESS, PROCESSES) for n in (1, 2, 8)]
    for one in served:
        assert one.memory_bytes > 0
        assert one.is_extrapolated == (one.rows_per_s is None) == (one.swap_seconds is None)
    start = {(one.way, one.n_tasks): one.start_seconds for one in served}
    assert all(start[way, 1] < start[way, 2] < start[way, 8] for way in (ADAPTERS, ONE_PROCESS, PROCESSES))


def test_pages_that_processes_share_count_once() -> None:
    assert together([Resident(own_bytes=5, shared_bytes=90), Resident(own_bytes=7, shared_bytes=80)]) == 102
    assert together([Resident(own_bytes=60, shared_bytes=30)]) == 90, "of one process all that it has"


def test_counter_adds_up_what_rapl_counts_and_is_none_where_nothing_can_be_read(tmp_path: Path) -> None:
    assert find_counter(tmp_path / "absent") is None
    for name, microjoules in (("intel-rapl:0", "3000000"), ("intel-rapl:1", "500000"), ("intel-rapl:0:0", "9000000")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(microjoules)
    counter = find_counter(tmp_path)
    assert counter is not None
    assert counter.read_joules() == pytest.approx(3.5)  # two packages; what lies inside one is part of it
    assert "RAPL" in counter.what
