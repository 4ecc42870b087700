"""On a GPU everything a pass reads lies there, the host waits once a call, and slots are filled beside the computing.

No GPU is needed: `fake_gpu` knows where values lie and who waits for whom, not the values. Where there is one, the
answers are held to the processor's too.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from fake_gpu import GPU, fake_gpu
from generation_bed import make_bed
from peft import IA3Config, LoraConfig
from peft_folders import write_peft_folder

from adapterhub.adapter.folder import read_folder
from adapterhub.bases.load import load_base
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.copies import SideCopies
from adapterhub.runtime.generation.key_values import Pick, joined
from adapterhub.runtime.generation.language_model import SlotLanguageModel
from adapterhub.runtime.grouping import order_of
from adapterhub.runtime.loaded import LoadedAdapter
from adapterhub.runtime.shared_base import SharedBase
from adapterhub.runtime.slots import LayerShape, SlotPool, SlotShape
from adapterhub.settings import Settings
from adapterhub.tasks.task import Example, TokenSequence

CPU = torch.device("cpu")
SHAPE = SlotShape.of({"0.query": LayerShape(6, 4)}, 4)
LORA: dict[str, Any] = {"task_type": "SEQ_CLS", "r": 4, "target_modules": ["query", "value"]}
METHODS = {"lora": LoraConfig(**LORA), "dora": LoraConfig(**LORA, use_dora=True),
           "bias": LoraConfig(**LORA, bias="all"),
           "ia3": IA3Config(task_type="SEQ_CLS", target_modules=["key", "value"], feedforward_modules=[])}
LENGTHS = (4, 7, 7, 12)


def ones(row: torch.Tensor) -> None:
    row.fill_(1.0)


def test_rows_that_were_copied_aside_hold_what_was_written() -> None:
    pool = SlotPool(SHAPE, dtype=torch.float32, device=CPU, max_slots=5,
                    copies=SideCopies(CPU, SHAPE.n_elements, torch.float32))
    for number in range(5):
        pool.fill(pool.take(), lambda row, value=float(number): row.fill_(value))  # type: ignore[misc]
    pool.settle()
    assert [float(pool.row(slot).sum()) for slot in range(5)] == [n * SHAPE.n_elements for n in range(5)]


def test_a_slot_is_filled_after_the_passes_that_read_it_and_read_after_it_is_filled(
        monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_gpu(monkeypatch) as gpu:
        copies = SideCopies(GPU, SHAPE.n_elements, torch.float32)
        pool = SlotPool(SHAPE, dtype=torch.float32, device=GPU, max_slots=2, copies=copies)
        slot = pool.take()
        pool.fill(slot, ones)
        gpu.log.clear()
        pool.give_back(slot, keeps_memory=True)
        pool.fill(pool.take(), ones)
        pool.settle()
    freed, waits, on, copied, *settled = gpu.log
    assert freed.startswith("event computing")
    assert waits == f"copies waits for {freed.removeprefix('event ')}"
    assert on == "on copies"
    assert f"computing waits for {copied.removeprefix('event ')}" in settled


def test_a_pinned_row_is_written_again_once_it_is_copied_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_gpu(monkeypatch) as gpu:
        copies = SideCopies(GPU, 3, torch.float32)
        row, log = torch.empty(3, device=GPU), []
        for _ in range(4):
            copies.fill(row, lambda _: log.append([line for line in gpu.log if line.startswith("host")]))
    assert log == [[], [], ["host waits for copies 0"], ["host waits for copies 0", "host waits for copies 1"]]


def test_what_cannot_be_written_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: torch.Tensor) -> None:
        raise ValueError("no numbers")

    with fake_gpu(monkeypatch) as gpu:
        pool = SlotPool(SHAPE, dtype=torch.float32, device=GPU, max_slots=1,
                        copies=SideCopies(GPU, SHAPE.n_elements, torch.float32))
        slot = pool.take()
        gpu.log.clear()
        with pytest.raises(ValueError, match="no numbers"):
            pool.fill(slot, fail)
    assert not gpu.log


def test_a_slab_that_grows_takes_along_what_is_still_being_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_gpu(monkeypatch) as gpu:
        pool = SlotPool(SHAPE, dtype=torch.float32, device=GPU, max_slots=9,
                        copies=SideCopies(GPU, SHAPE.n_elements, torch.float32))
        for _ in range(8):
            pool.fill(pool.take(), ones)
        gpu.log.clear()
        slot = pool.take()
        assert sum(line.startswith("computing waits for copies") for line in gpu.log) == 2
        grown = next(line for line in gpu.log if line.startswith("event computing"))
        pool.fill(slot, ones)
    assert f"copies waits for {grown.removeprefix('event ')}" in gpu.log


def test_a_call_of_every_task_waits_for_the_device_once(tiny_base_folder: Path, tiny_settings: Settings,
                                                        tiny_adapters: dict[str, Path],
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_gpu(monkeypatch) as gpu:
        shared = gpu_base(tiny_base_folder, tiny_settings)
        adapters = [shared.adapters.load(read_folder(folder), in_use=()) for folder in tiny_adapters.values()]
        gpu.log.clear()
        found = shared.compute(rows_for(adapters))
    assert all(output.device == CPU for outputs in found for output in outputs)
    assert gpu.log.count("host waits for computing") == 1


def test_methods_with_factors_of_their_own_share_a_call(tmp_path: Path, tiny_base_folder: Path,
                                                        tiny_settings: Settings,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [write_peft_folder(tmp_path / name, tiny_base_folder, tiny_settings.cache, config)
               for name, config in METHODS.items()]
    with fake_gpu(monkeypatch) as gpu:
        shared = gpu_base(tiny_base_folder, tiny_settings)
        adapters = [shared.adapters.load(read_folder(folder), in_use=()) for folder in folders]
        one_text = rows_for(adapters)[0][1]
        gpu.log.clear()
        assert len(shared.compute([*rows_for(adapters), *((adapter, one_text) for adapter in adapters)]))
    assert gpu.log.count("host waits for computing") == 1


@pytest.mark.parametrize("family", ["llama", "gpt2", "t5"])
def test_a_step_of_generation_asks_the_device_for_nothing(family: str, tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    bed = make_bed(tmp_path, family)
    with fake_gpu(monkeypatch) as gpu:
        model = SlotLanguageModel(bed.base, RuntimeConfig(device="cuda:0", dtype="float32", is_packed=False))
        adapters = [model.adapters.load(read_folder(folder), in_use=()) for folder in bed.adapters.values()]
        adapters = [adapters[i] for i in order_of(adapters)]
        work = model.work_of(adapters)
        gpu.log.clear()
        _, kept = model.read([[5] * length for length in LENGTHS], work)
        kept = joined([kept], [Pick(0, i) for i in range(len(adapters))], max_width=40)
        logits = model.advance([5] * len(adapters), kept, work)
    assert logits.device == GPU
    assert not [line for line in gpu.log if line.startswith("host")]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_answers_on_a_gpu_are_the_processors(tiny_base_folder: Path, tiny_settings: Settings,
                                             tiny_adapters: dict[str, Path]) -> None:
    base = load_base(str(tiny_base_folder), cache=tiny_settings.cache)
    found = []
    for device in ("cpu", "cuda"):
        shared = SharedBase(base, RuntimeConfig(device=device, dtype="float32", max_slots=2))
        for _ in range(3):  # slots are taken again while passes are under way
            for folder in tiny_adapters.values():
                adapter = shared.adapters.load(read_folder(folder), in_use=())
                found.append((device, shared.compute(rows_for([adapter]))[0][0]))
    processor, gpu = ([output for device, output in found if device == name] for name in ("cpu", "cuda"))
    for own, expected in zip(gpu, processor, strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-3, atol=1e-3)  # a GPU may round products to TF32


def gpu_base(base_folder: Path, settings: Settings) -> SharedBase:
    base = load_base(str(base_folder), cache=settings.cache)
    return SharedBase(base, RuntimeConfig(device="cuda:0", dtype="float32"))


def rows_for(adapters: list[LoadedAdapter]) -> list[tuple[LoadedAdapter, Example]]:
    """A text of its own for each adapter."""
    return [(adapter, Example(sequences=[TokenSequence(input_ids=[2, *[9 + i] * length, 3],
                                                       token_type_ids=[0] * (length + 2))]))
            for i, (adapter, length) in enumerate(zip(adapters, LENGTHS * 2, strict=False))]
