"""What serves while it is measured answers rows and swaps tasks; past what was loaded, a line is drawn and marked."""

from pathlib import Path

import pytest

from adapterhub.costs.energy import find_counter
from adapterhub.costs.serving import ONE_PROCESS, ServedTasks, drawn_out
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
    serving = AdaptersServed(str(tiny_base_folder), tiny_adapters["intents3"], 3, tiny_settings)
    assert serving.answer() == 32
    assert len(set(serving.digests())) == 3, "each task is an adapter of its own"
    serving.swap()
    assert len(set(serving.digests())) == 4


def test_whole_models_have_weights_of_their_own(tiny_base_folder: Path, tiny_adapters: dict[str, Path],
                                                tiny_settings: Settings) -> None:
    serving = ModelsServed(str(tiny_base_folder), tiny_adapters["intents3"], 2, tiny_settings)
    assert serving.answer() == 32
    first, second = ({value.untyped_storage().data_ptr() for value in model.parameters()} for model in serving.models)
    assert not first & second
    serving.swap()
    assert serving.answer() == 32
    assert len(serving.models) == 2


def test_counter_adds_up_what_rapl_counts_and_is_none_where_nothing_can_be_read(tmp_path: Path) -> None:
    assert find_counter(tmp_path / "absent") is None
    for name, microjoules in (("intel-rapl:0", "3000000"), ("intel-rapl:1", "500000"), ("intel-rapl:0:0", "9000000")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(microjoules)
    counter = find_counter(tmp_path)
    assert counter is not None
    assert counter.read_joules() == pytest.approx(3.5)  # two packages; what lies inside one is part of it
    assert "RAPL" in counter.what
