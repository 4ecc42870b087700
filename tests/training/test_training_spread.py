"""A step is the same step however its rows are spread: over passes, over processes, with activations kept or not."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from adapterhub.adapter.peft_config import WEIGHTS_FILE
from adapterhub.bases.load import Base, load_base
from adapterhub.errors import DataError, InvalidConfig, TrainingError, UnknownName
from adapterhub.settings import Settings
from adapterhub.tasks.table import find_task
from adapterhub.tasks.task import Example
from adapterhub.training.config import TrainConfig
from adapterhub.training.config_file import config_to_plain
from adapterhub.training.deepspeed_settings import settle_deepspeed
from adapterhub.training.invariants import frozen_digest, require_frozen, require_moved, require_whole
from adapterhub.training.loop import run_loop, seed_everything
from adapterhub.training.methods import State, build_model, whole
from adapterhub.training.outcome import Outcome
from adapterhub.training.prepare import LoopInputs
from adapterhub.training.processes import run_in_processes
from adapterhub.training.run import TrainResult, run_training
from adapterhub.training.trackers import require_trackers

TASK = find_task("text-classification")
LABELS = ["card", "loan"]
Run = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Several threads add up in an order of their own, and Adam makes whole steps out of the smallest gradients."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()


@pytest.fixture(scope="module")
def still_folder(tiny_base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base without dropout, whose masks depend on how rows are spread."""
    folder = tmp_path_factory.mktemp("still") / "still-base"
    folder.mkdir()
    for path in tiny_base_folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def still_base(still_folder: Path, tiny_settings: Settings) -> Base:
    return load_base(str(still_folder), cache=tiny_settings.cache)


@pytest.fixture
def learn(still_base: Base, tiny_config: Callable[..., TrainConfig]) -> Run:
    """Two epochs over 13 rows of uneven length, seven a step."""
    rows = [{"text": f"the {LABELS[i % 2]} {'new ' * (i % 5)}", "label": LABELS[i % 2]} for i in range(13)]
    examples = TASK.encode(rows, still_base.tokenizer, LABELS, 16)
    inputs = LoopInputs(train=examples, validation=[], labels=LABELS, pad_id=0)

    def run(task: Any = TASK, **changes: Any) -> Outcome:
        config = tiny_config(**{"epochs": 2, "batch_size": 7, "precision": "float32", **changes})
        seed_everything(0)
        return run_loop(config, build_model(config, still_base, TASK, LABELS), task, inputs)
    return run


def largest_difference(one: State, other: State) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


@pytest.mark.parametrize("accumulation", [2, 3, 7, 50])
def test_passes_give_the_gradient_of_the_whole_batch(accumulation: int, learn: Run) -> None:
    whole, parts = learn(), learn(accumulation=accumulation)
    assert largest_difference(whole.state, parts.state) < 1e-5
    assert parts.losses == pytest.approx(whole.losses, rel=1e-5)


def test_activations_computed_again_give_the_same_weights(learn: Run) -> None:
    assert largest_difference(learn().state, learn(gradient_checkpointing=True).state) == 0.0


class Short:
    """A task on a machine whose memory takes few rows at once."""

    def __init__(self, most_rows: int) -> None:
        self.most_rows = most_rows

    def __getattr__(self, name: str) -> Any:
        return getattr(TASK, name)

    def loss(self, outputs: list[torch.Tensor], examples: Sequence[Example]) -> torch.Tensor:
        if len(examples) > self.most_rows:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you "
                               "tried to allocate 9 bytes. Error code 12 (Cannot allocate memory)")
        return TASK.loss(outputs, examples)


def test_too_little_memory_halves_the_passes_and_changes_nothing_else(learn: Run) -> None:
    whole, short = learn(), learn(Short(2))
    assert (whole.n_pieces, short.n_pieces) == (1, 4)
    assert whole.n_steps == short.n_steps
    assert largest_difference(whole.state, short.state) < 1e-5


def test_memory_for_no_row_at_all_is_told(learn: Run) -> None:
    with pytest.raises(TrainingError, match=r"Memory does not suffice for 1 rows at once\. Give a smaller"):
        learn(Short(0))


def test_other_faults_are_not_taken_for_memory(learn: Run) -> None:
    class Broken(Short):
        def loss(self, outputs: list[torch.Tensor], examples: Sequence[Example]) -> torch.Tensor:
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        learn(Broken(0))


def test_batch_that_must_stay_whole_is_not_split(learn: Run) -> None:
    class Contrastive(Short):
        def can_split(self, examples: Sequence[Example]) -> bool:
            return False

    with pytest.raises(TrainingError, match="told apart from the others of their batch"):
        learn(Contrastive(99), accumulation=2)


@pytest.mark.slow
def test_two_processes_give_what_one_gives(still_folder: Path, tiny_config: Callable[..., TrainConfig],
                                           tiny_settings: Settings, tmp_path: Path) -> None:
    def config(name: str) -> TrainConfig:
        return tiny_config(base=str(still_folder), epochs=2, batch_size=7, precision="float32", output=tmp_path / name)

    results = {"one": run_training(config("one"), tiny_settings),
               "two": run_in_processes(config("two"), tiny_settings, 2)}
    one, two = (load_file(tmp_path / name / WEIGHTS_FILE) for name in results)
    assert largest_difference(one, two) < 1e-4
    assert results["two"].evaluation.metrics == results["one"].evaluation.metrics
    assert results["two"].outcome.losses == pytest.approx(results["one"].outcome.losses, rel=1e-4)
    files = {name: sorted(path.name for path in (tmp_path / name).iterdir()) for name in results}
    assert files["one"] == files["two"]
    steps = [json.loads(line)["step"] for line in (tmp_path / "two.run" / "log.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)


@pytest.mark.slow
def test_accelerate_launch_gives_what_one_process_gives(still_folder: Path, run_tiny: Callable[..., TrainResult],
                                                        tiny_rows: dict[str, Path], tmp_path: Path) -> None:
    run_tiny(base=str(still_folder), batch_size=7, precision="float32", output=tmp_path / "one")
    ran = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--cpu", "--num_processes", "2",
         "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "-m", "adapterhub", "train",
         "--task", "text-classification", "--data", str(tiny_rows["intents3"]), "--base", str(still_folder),
         "--max-length", "32", "--epochs", "1", "--batch-size", "7", "--rank", "2", "--learning-rate", "2e-2",
         "--precision", "float32", "--dtype", "float32", "--json", "--output", str(tmp_path / "launched")],
        env={**os.environ, "ADAPTERHUB_CACHE": str(tmp_path / "cache")}, capture_output=True, text=True, timeout=300,
        check=False)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["folder"] == str(tmp_path / "launched")  # one process speaks
    one, launched = (load_file(tmp_path / name / WEIGHTS_FILE) for name in ("one", "launched"))
    assert largest_difference(one, launched) < 1e-4


FSDP2 = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
         "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP", "FSDP_TRANSFORMER_CLS_TO_WRAP": "BertLayer",
         "FSDP_RESHARD_AFTER_FORWARD": "true"}


DEEPSPEED = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2", "DS_ACCELERATOR": "cpu"}
InParts = Callable[..., Any]


@pytest.fixture
def in_parts(still_folder: Path, tiny_config: Callable[..., TrainConfig], tiny_settings: Settings,
             tmp_path: Path) -> InParts:
    """Train in two processes that each hold a part, and return what the first one says; without a kind in one."""
    def run(kind: dict[str, str] | None, start: str = "new", stop_at: int = 0, **changes: Any) -> Any:
        config = tiny_config(base=str(still_folder), epochs=2, batch_size=7, precision="float32",
                             output=tmp_path / ("one" if kind is None else "parts"), **changes)
        if kind is None:
            return run_training(config, tiny_settings).evaluation.metrics
        ran = subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--rdzv-backend", "c10d",
             "--rdzv-endpoint", "localhost:0", str(Path(__file__).parents[1] / "spread_rank.py"),
             json.dumps(config_to_plain(config)), start, str(stop_at)],
            env={**os.environ, **kind, "ADAPTERHUB_CACHE": str(tiny_settings.cache), "OMP_NUM_THREADS": "1"},
            capture_output=True, text=True, timeout=300, check=False)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout.splitlines()[-1])
    return run


@pytest.mark.slow
def test_model_in_parts_by_fsdp2_stops_goes_on_and_gives_the_whole_adapter_that_one_process_gives(
        in_parts: InParts, tmp_path: Path) -> None:
    expected = in_parts(None)
    assert in_parts(FSDP2, stop_at=3) == {"stopped": 3}
    assert in_parts(FSDP2, "resume") == pytest.approx(expected)
    assert largest_difference(*(load_file(tmp_path / name / WEIGHTS_FILE) for name in ("one", "parts"))) < 1e-4


@pytest.mark.slow
@pytest.mark.skipif(find_spec("deepspeed") is None, reason="needs DeepSpeed")
def test_optimiser_in_parts_by_deepspeed_stops_goes_on_and_gives_the_adapter_that_one_process_gives(
        in_parts: InParts, tmp_path: Path) -> None:
    expected = in_parts(None, accumulation=2)
    assert in_parts(DEEPSPEED, stop_at=3, accumulation=2) == {"stopped": 3}
    assert in_parts(DEEPSPEED, "resume", accumulation=2) == pytest.approx(expected)
    assert largest_difference(*(load_file(tmp_path / name / WEIGHTS_FILE) for name in ("one", "parts"))) < 1e-4


def test_base_that_moved_is_noticed(still_base: Base, tiny_config: Callable[..., TrainConfig]) -> None:
    trained = build_model(tiny_config(), still_base, TASK, LABELS)
    before = frozen_digest(trained)
    require_frozen(trained, before)
    with torch.no_grad():
        next(value for value in trained.model.parameters() if not value.requires_grad)[0] += 1e-7
    with pytest.raises(TrainingError, match="changed tensors of the base"):
        require_frozen(trained, before)


def test_layer_without_a_gradient_is_noticed(still_base: Base, tiny_config: Callable[..., TrainConfig]) -> None:
    start = build_model(tiny_config(), still_base, TASK, LABELS).state()
    moved = {name: value + 1 for name, value in start.items()}
    require_moved(start, moved)
    first = next(name for name in start if "lora_B" in name)
    with pytest.raises(TrainingError, match=r"did not move 1 of \d+ tensors, first .*lora_B"):
        require_moved(start, {**moved, first: start[first]})


def test_slice_of_a_tensor_is_noticed(still_base: Base, tiny_config: Callable[..., TrainConfig]) -> None:
    start = build_model(tiny_config(), still_base, TASK, LABELS).state()
    first = sorted(start)[0]
    with pytest.raises(TrainingError, match=r"1 trained tensors are not whole, first .*: \(1, .* instead of \("):
        require_whole(start, {**start, first: start[first][:1]})


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant", "polynomial", "inverse_sqrt"])
def test_each_schedule_trains(schedule: str, learn: Run) -> None:
    assert learn(schedule=schedule).n_steps == 4


def test_unknown_schedule_and_tracker_are_named(tiny_config: Callable[..., TrainConfig]) -> None:
    with pytest.raises(UnknownName, match=r"Unknown schedule 'cosin'.*Did you mean cosine"):
        tiny_config(schedule="cosin")
    with pytest.raises(UnknownName, match="Unknown tracker 'tensorbord'"):
        require_trackers(["jsonl", "tensorbord"])


def test_run_without_a_log_is_possible(run_tiny: Callable[..., TrainResult], tmp_path: Path) -> None:
    run_tiny(trackers=())
    assert sorted(path.name for path in (tmp_path / "out.run").iterdir()) == ["run.json"]


def test_output_that_is_taken_is_refused_before_anything(run_tiny: Callable[..., TrainResult], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").touch()
    with pytest.raises(DataError, match="exists already"):
        run_tiny()
    assert not (tmp_path / "out.run").exists()


def test_tensor_that_is_spread_over_processes_is_gathered(tmp_path: Path) -> None:
    from torch.distributed import destroy_process_group, init_process_group
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    value = torch.arange(6.0).reshape(3, 2)
    init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    try:
        spread = distribute_tensor(value, init_device_mesh("cpu", (1,)), [Shard(0)])
        assert type(whole(spread)) is torch.Tensor
        assert torch.equal(whole(spread), value)
    finally:
        destroy_process_group()
    assert whole(value) is value


@pytest.mark.parametrize(("given", "told"), [
    ({"optimizer": {"type": "Adam"}}, "has 'optimizer', which is the run's own"),
    ({"scheduler": {"type": "WarmupLR"}}, "has 'scheduler', which is the run's own"),
    ({"zero_optimization": {"stage": 3}}, "asks for ZeRO stage 3, expected up to 2")])
def test_deepspeed_configuration_that_the_run_cannot_take_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidConfig, match=told):
        settle_deepspeed(deepspeed_accelerator(given), batch_size=8, max_grad_norm=1.0)


def test_deepspeed_is_told_the_runs_own_batch_passes_and_clipping() -> None:
    accelerator = deepspeed_accelerator({"gradient_accumulation_steps": 4, "zero_optimization": {"stage": 2}})
    settle_deepspeed(accelerator, batch_size=9, max_grad_norm=0.5)
    settled = accelerator.state.deepspeed_plugin.deepspeed_config
    assert (settled["train_micro_batch_size_per_gpu"], settled["gradient_accumulation_steps"]) == (4, 1)
    assert settled["gradient_clipping"] == 0.5


def deepspeed_accelerator(given: dict[str, Any]) -> Any:
    """What is asked of an Accelerator with two processes and this configuration."""
    plugin = SimpleNamespace(deepspeed_config=given,
                             zero_stage=given.get("zero_optimization", {"stage": 0})["stage"])
    return SimpleNamespace(state=SimpleNamespace(deepspeed_plugin=plugin), num_processes=2)
