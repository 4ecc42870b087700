"""What other servers are known to get wrong, each tried here; the rows' answers are held against stock PEFT.

The generator's part of the same list is in generation/test_generation_known_failures.py.
"""

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_folders import edit_manifest, listed_anew
from history_world import KINDS, TEXTS, World
from safetensors.torch import load_file, save_file

from adapterhub.adapter.peft_config import WEIGHTS_FILE
from adapterhub.errors import InvalidFolder
from adapterhub.registry import Registry
from adapterhub.runtime.answer import Answer, Failure
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.engine import Runtime
from adapterhub.tasks.table import find_task

TOLERANCE = 1e-5


@dataclass(slots=True)
class Bed:
    """A registry of all kinds as `t/<kind>`, and runtimes over it."""

    world: World
    registry: Registry

    def runtime(self, **options: Any) -> Runtime:
        """Return a runtime in float32."""
        config = RuntimeConfig(dtype="float32", device="cpu", **options)
        return Runtime(self.world.base, self.registry, settings=self.world.settings, config=config)

    def require_right(self, answer: Answer | Failure, kind: str | None, text: str) -> None:
        """Hold an answer against what stock PEFT's output for this text alone decodes to."""
        assert isinstance(answer, Answer), answer
        assert answer.digest == (self.world.digests[kind] if kind else None)
        task = find_task(answer.task)
        labels = self.registry.read(f"t/{kind}").manifest.labels if kind else []
        example = task.encode([task.parse_row(text)], self.world.base.tokenizer, [], self.world.base.max_length)[0]
        expected = task.decode([self.world.expected(kind, text)], example, labels)
        for name, value in expected.items():
            assert _is_close(answer.result[name], value), f"{answer.result[name]} is not {value}"


def _is_close(found: Any, expected: Any) -> bool:
    if isinstance(expected, float):
        return abs(found - expected) <= TOLERANCE * max(1.0, abs(expected))
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(_is_close, found, expected))
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(_is_close(found[name], expected[name]) for name in expected)
    return bool(found == expected)


@pytest.fixture
def bed(world: World, tmp_path: Path) -> Bed:
    registry = Registry(tmp_path / "registry")
    for kind in KINDS:
        registry.publish(world.folders[kind], f"t/{kind}")
    return Bed(world, registry)


def test_row_in_a_pass_ends_on_its_own_adapter_while_others_load_and_leave(bed: Bed, monkeypatch: Any) -> None:
    """vllm#47724: after an adapter was added at run time, a row in flight went on with another user's adapter."""
    runtime = bed.runtime(max_slots=1)
    compute: Callable[..., Any] = runtime._shared.compute
    has_begun, may_go_on = threading.Event(), threading.Event()

    def held(rows: Any) -> Any:
        has_begun.set()
        may_go_on.wait(30)
        return compute(rows)
    monkeypatch.setattr(runtime._shared, "compute", held)
    pending = runtime.submit([("t/rank-1", TEXTS[0])])
    threads = [threading.Thread(target=pending.answers)]
    threads[0].start()
    assert has_begun.wait(30)
    threads += [threading.Thread(target=act, args=arguments) for act, *arguments in (
        (runtime.load, "t/dora"), (runtime.unload, "t/rank-1"), (runtime.answer, [("t/rank-8", TEXTS[1])]))]
    for thread in threads[1:]:
        thread.start()
    time.sleep(0.05)  # they are at the door while the row is in its pass
    may_go_on.set()
    for thread in threads:
        thread.join()
    bed.require_right(pending.answers()[0], "rank-1", TEXTS[0])


def test_reload_under_the_same_name_never_gives_the_old_bytes(bed: Bed, tmp_path: Path) -> None:
    """vllm#42125, #30931 (and PolyLoRA): a name that was loaded before went on with its old weights."""
    runtime, folder = bed.runtime(), tmp_path / "folder"
    for kind in ("rank-1", "rslora", "rank-1"):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(bed.world.folders[kind], folder)
        bed.require_right(runtime.answer([(str(folder), TEXTS[0])])[0], kind, TEXTS[0])


def test_one_name_in_another_registry_is_another_adapter(bed: Bed, tmp_path: Path) -> None:
    """The same family: identity by name or by its hash. Here the whole registry is replaced under the runtime."""
    other = Registry(tmp_path / "other")
    other.publish(bed.world.folders["rank-8"], "t/rank-1")
    runtime = bed.runtime()
    bed.require_right(runtime.answer([("t/rank-1", TEXTS[0])])[0], "rank-1", TEXTS[0])
    (tmp_path / "registry").rename(tmp_path / "was")
    (tmp_path / "other").rename(tmp_path / "registry")
    answer = runtime.answer([("t/rank-1", TEXTS[0])])[0]
    bed.registry.publish(bed.world.folders["rank-8"], "t/rank-8")  # where its labels are looked up
    bed.require_right(answer, "rank-8", TEXTS[0])


def test_one_text_under_several_adapters_is_computed_for_each(bed: Bed) -> None:
    """llama.cpp#26207: what was computed of a text was used again for another adapter."""
    kinds = [*KINDS, None, *KINDS]
    answers = bed.runtime().answer([(f"t/{kind}" if kind else None, TEXTS[0]) for kind in kinds])
    for kind, answer in zip(kinds, answers, strict=True):
        bed.require_right(answer, kind, TEXTS[0])


def test_adapter_whose_names_match_nothing_is_refused(bed: Bed, tmp_path: Path) -> None:
    """vllm#34186, dynamo#14111: no name matched, and 200 OK came back with the base's answer."""
    folder = tmp_path / "renamed"
    shutil.copytree(bed.world.folders["rank-1"], folder)
    tensors = load_file(folder / WEIGHTS_FILE)
    save_file({name.replace("bert.encoder", "roberta.encoder"): value for name, value in tensors.items()},
              folder / WEIGHTS_FILE, metadata={"format": "pt"})
    edit_manifest(folder)
    listed_anew(folder)
    runtime = bed.runtime()
    failure, good = runtime.answer([(str(folder), TEXTS[0]), ("t/rank-1", TEXTS[0])])
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, InvalidFolder)
    assert "roberta.encoder" in str(failure.error)
    bed.require_right(good, "rank-1", TEXTS[0])


def test_adapters_with_trained_heads_swap_in_one_slot(bed: Bed) -> None:
    """peft#3581: hot-swapping an adapter with a classification head is a KeyError; here heads of 2, 3 and 5 labels."""
    runtime = bed.runtime(max_slots=1)
    for kind in ("rank-1", "rank-8", "biases", "tags", "rank-1"):
        bed.require_right(runtime.answer([(f"t/{kind}", TEXTS[1])])[0], kind, TEXTS[1])
    assert runtime.statistics().n_evictions == 4


def test_swapping_foo_leaves_foobar_as_it_was(bed: Bed) -> None:
    """peft#3780: hot-swapping `foo` zeroed `foobar`."""
    bed.registry.publish(bed.world.folders["rank-1"], "t/foo")
    bed.registry.publish(bed.world.folders["rank-8"], "t/foobar")
    runtime = bed.runtime()
    runtime.load("t/foobar")
    runtime.load("t/foo")
    bed.registry.publish(bed.world.folders["rslora"], "t/foo")
    foo, foobar = runtime.answer([("t/foo", TEXTS[0]), ("t/foobar", TEXTS[0])])
    bed.require_right(foo, "rslora", TEXTS[0])
    bed.require_right(foobar, "rank-8", TEXTS[0])


def test_heads_of_all_sizes_and_tasks_answer_in_one_batch(bed: Bed) -> None:
    """peft#2136, #1960: a mixed batch used the active adapter's head for all, and heads had to be of one size."""
    runtime = bed.runtime()
    answers = runtime.answer([(f"t/{kind}", text) for text in TEXTS for kind in KINDS])
    for answer, (text, kind) in zip(answers, ((text, kind) for text in TEXTS for kind in KINDS), strict=True):
        bed.require_right(answer, kind, text)


def test_slot_taken_over_keeps_no_module_of_who_left(bed: Bed) -> None:
    """sglang#7426: eviction left the weights of modules that the next adapter does not have in the buffer."""
    runtime = bed.runtime(max_slots=1)
    for kind in ("rank-8", "rslora", "rank-8", "rank-1"):  # all layers, one layer, all layers, query and value
        bed.require_right(runtime.answer([(f"t/{kind}", TEXTS[0])])[0], kind, TEXTS[0])


def test_working_set_larger_than_the_slots_reads_each_file_once(bed: Bed) -> None:
    """sglang#13349: past the slots, every return cost as much as the first load. Speed: benchmarks.cliff."""
    runtime = bed.runtime(max_slots=2)
    kinds = list(KINDS)
    for _ in range(4):
        for kind in kinds:
            bed.require_right(runtime.answer([(f"t/{kind}", TEXTS[0])])[0], kind, TEXTS[0])
    facts = runtime.statistics()
    assert facts.n_registry_reads == len(kinds)
    assert facts.n_host_hits + facts.n_hits == 3 * len(kinds)  # one that was slow to get may still have its slot
    assert facts.n_host_hits >= 2 * len(kinds)


def test_as_many_adapters_as_slots_and_a_bare_row_share_one_pass(bed: Bed) -> None:
    """sglang#23141: N adapters in N slots with one row of the base ended the scheduler."""
    kinds = [*KINDS][:4]
    runtime = bed.runtime(max_slots=len(kinds), gather_s=30)
    answers = runtime.answer([*((f"t/{kind}", TEXTS[2]) for kind in kinds), (None, TEXTS[2])])
    for kind, answer in zip([*kinds, None], answers, strict=True):
        bed.require_right(answer, kind, TEXTS[2])
    assert runtime.statistics().n_passes == 1


def test_adapter_is_not_starved_by_a_stream_of_another(bed: Bed) -> None:
    """sglang#15129, vllm#16876: B was never scheduled behind a stream of A, which has the only slot."""
    runtime = bed.runtime(max_slots=1, max_age_s=0.05)
    runtime.load("t/rank-1")
    is_over = threading.Event()

    def stream() -> None:
        while not is_over.is_set():
            runtime.answer([("t/rank-1", TEXTS[0])] * 8)
    threads = [threading.Thread(target=stream) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        pending = runtime.submit([("t/rank-8", TEXTS[0])], timeout_s=20)
        bed.require_right(pending.answers()[0], "rank-8", TEXTS[0])
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def test_every_row_of_a_mixture_is_what_it_is_alone(bed: Bed) -> None:
    """sglang#28371, #5928, #4739: rows of the base, or of other adapters, were wrong in a mixed batch."""
    generator = torch.Generator().manual_seed(0)
    kinds = [*KINDS, None]
    for n_rows in (1, 2, 7, 33):
        drawn = [(kinds[int(torch.randint(len(kinds), (), generator=generator))],
                  TEXTS[int(torch.randint(len(TEXTS), (), generator=generator))]) for _ in range(n_rows)]
        answers = bed.runtime().answer([(f"t/{kind}" if kind else None, text) for kind, text in drawn])
        for (kind, text), answer in zip(drawn, answers, strict=True):
            bed.require_right(answer, kind, text)


def test_load_of_a_missing_path_is_an_error_and_changes_nothing(bed: Bed) -> None:
    """vllm#33791, #18372: loading a path that is not there returned 200."""
    runtime = bed.runtime()
    failure, good = runtime.answer([("./not-there", TEXTS[0]), ("t/rank-1", TEXTS[0])])
    assert isinstance(failure, Failure)
    assert "./not-there" in str(failure.error)
    bed.require_right(good, "rank-1", TEXTS[0])
    assert runtime.statistics().n_loads == 1
