"""What a run does with its rows before it learns them: weighed, drawn again, cleaned, streamed, and told."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from language_models import write_language_model
from tiny import intent_rows, write_rows

from adapterhub.adapter.folder import read_folder
from adapterhub.adapter.peft_config import WEIGHTS_FILE
from adapterhub.bases.load import Base, load_base
from adapterhub.data.report import DataReport
from adapterhub.errors import DataError, InvalidConfig, UnknownName
from adapterhub.settings import Settings
from adapterhub.tasks.class_weights import with_class_weights
from adapterhub.tasks.table import find_task
from adapterhub.tasks.task import IGNORED, Example
from adapterhub.training import evaluate
from adapterhub.training.config import TrainConfig
from adapterhub.training.encode import Encoder
from adapterhub.training.prepare import Prepared, prepare, read_data
from adapterhub.training.run import TrainResult, run_training

Config = Callable[..., TrainConfig]
UNEVEN = [row for row in intent_rows(3, 20) if row["label"] != "card"] + intent_rows(1, 6)


@pytest.fixture
def prepared(tiny_config: Config, tiny_base: Base, tmp_path: Path) -> Callable[..., Prepared]:
    def make(**changes: object) -> Prepared:
        config = tiny_config(**changes)
        task = find_task(config.task)
        return prepare(config, task, tiny_base, read_data(config, task), tmp_path / "cache")
    return make


def uneven(folder: Path) -> str:
    return str(write_rows(folder / "uneven.jsonl", UNEVEN))


def test_balanced_weights_are_those_of_the_training_rows(prepared: Callable[..., Prepared], tmp_path: Path) -> None:
    made = prepared(data=uneven(tmp_path), class_weights="balanced")
    counts = made.report.parts[0].labels
    total = sum(counts.values())
    assert made.inputs.labels == ["card", "loan", "travel"]
    assert made.task.class_weights == pytest.approx(  # type: ignore[attr-defined]
        [total / (3 * counts[label]) for label in made.inputs.labels])


@pytest.mark.parametrize("task", ["text-classification", "token-classification"])
def test_a_weighted_loss_is_that_of_rows_that_stand_more_often(task: str) -> None:
    plain, weighted = find_task(task), with_class_weights(find_task(task), [1.0, 3.0])
    is_tagged = task == "token-classification"
    examples = [Example(sequences=[], target=[0, 1, IGNORED] if is_tagged else label) for label in (0, 1)]
    outputs = torch.tensor([[0.3, -0.2], [0.9, 0.1]])
    if is_tagged:
        outputs = torch.stack([outputs, outputs + 0.5, outputs], dim=1)  # [B, T, L]
        examples[1] = Example(sequences=[], target=[IGNORED, 1, IGNORED])
    often = [example for example in examples for _ in range(3 if example is examples[1] else 1)]
    repeated = outputs[[0, 1, 1, 1]]
    if is_tagged:  # the first row's own word of the second class stands three times too
        often = [Example(sequences=[], target=[0, IGNORED, IGNORED]),
                 *[Example(sequences=[], target=[IGNORED, 1, IGNORED])] * 6]
        repeated = outputs[[0, 0, 0, 0, 1, 1, 1]]
    assert float(weighted.loss([outputs], examples)) == pytest.approx(float(plain.loss([repeated], often)))
    assert weighted.loss_weight(examples) == plain.loss_weight(often)


def test_a_weighted_loss_is_the_mean_of_its_parts() -> None:
    task = with_class_weights(find_task("text-classification"), [0.5, 2.0, 1.0])
    examples = [Example(sequences=[], target=label) for label in (0, 1, 2, 1, 0)]
    outputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    parts = [slice(0, 2), slice(2, 5)]
    total = sum(float(task.loss([outputs[part]], examples[part])) * task.loss_weight(examples[part]) for part in parts)
    assert total / task.loss_weight(examples) == pytest.approx(float(task.loss([outputs], examples)))


def test_weights_do_not_stay_on_the_task() -> None:
    with_class_weights(find_task("text-classification"), [1.0, 2.0])
    assert find_task("text-classification").class_weights is None  # type: ignore[attr-defined]


def test_weights_where_there_are_no_classes_are_refused() -> None:
    with pytest.raises(InvalidConfig, match="which sentence-similarity is not"):
        with_class_weights(find_task("sentence-similarity"), [])


@pytest.mark.parametrize("stream", [False, True])
def test_only_training_rows_are_drawn_again(stream: bool, prepared: Callable[..., Prepared], tmp_path: Path) -> None:
    plain, drawn = (prepared(data=uneven(tmp_path), oversample=wish, stream=stream) for wish in (False, True))
    labels = Counter(drawn.inputs.labels[example.target] for example in drawn.inputs.train)
    assert set(labels.values()) == {14}
    assert len(drawn.inputs.validation) == len(plain.inputs.validation)
    assert drawn.report.n_rows == plain.report.n_rows
    assert {example.row["text"] for example in drawn.inputs.train} == {
        example.row["text"] for example in plain.inputs.train}


def test_drawing_where_rows_have_no_single_label_is_refused(prepared: Callable[..., Prepared],
                                                            tiny_rows: dict[str, Path]) -> None:
    with pytest.raises(InvalidConfig, match="rows of token-classification have no single one"):
        prepared(task="token-classification", data=str(tiny_rows["entities"]), oversample=True)


@pytest.mark.parametrize(("changes", "told"), [
    ({"class_weights": "balanced", "oversample": True}, "both make rare labels count more"),
    ({"class_weights": "even"}, "class_weights is 'even', expected balanced"),
    ({"label_map": {"card": ""}}, "renames a label to nothing"),
])
def test_settings_that_make_no_sense_are_refused(changes: dict[str, object], told: str, tiny_config: Config) -> None:
    with pytest.raises(InvalidConfig, match=told):
        tiny_config(**changes)


def test_a_weight_of_no_label_is_refused(prepared: Callable[..., Prepared]) -> None:
    with pytest.raises(UnknownName, match=r"Unknown label in class_weights 'cards'; known: card, .* mean card\?"):
        prepared(class_weights={"cards": 2.0})


def test_labels_that_only_measured_rows_have_are_told_with_their_part(prepared: Callable[..., Prepared],
                                                                      tmp_path: Path) -> None:
    write_rows(tmp_path / "train.jsonl", intent_rows(2))
    write_rows(tmp_path / "test.jsonl", intent_rows(3, 2))
    with pytest.raises(DataError, match=r"^The test rows have labels that no training row has: travel \(2\)\. Add "):
        prepared(data=str(tmp_path))


def test_streamed_rows_give_the_same_adapter_to_the_bit(run_tiny: Callable[..., TrainResult], tmp_path: Path) -> None:
    folders = [run_tiny(data=uneven(tmp_path), stream=stream, output=tmp_path / f"out{stream}", epochs=2).folder
               for stream in (False, True)]
    assert folders[0] is not None
    assert folders[1] is not None
    whole, streamed = map(read_folder, folders)
    assert (folders[0] / WEIGHTS_FILE).read_bytes() == (folders[1] / WEIGHTS_FILE).read_bytes()
    assert streamed.manifest.data == whole.manifest.data
    assert streamed.manifest.metrics == whole.manifest.metrics


@pytest.mark.parametrize("pack", [False, True])
def test_streamed_texts_are_packed_as_those_in_memory(pack: bool, tiny_settings: Settings, tmp_path: Path) -> None:
    base = load_base(str(write_language_model(tmp_path / "base", "gpt2")), cache=tiny_settings.cache)
    rows = [{"prompt": f"anna {i}", "completion": " is in rome"} for i in range(30)]
    data = write_rows(tmp_path / "rows.jsonl", rows)
    made = []
    for stream in (False, True):
        config = TrainConfig(task="text-generation", data=str(data), output=tmp_path, base=str(base.source.folder),
                             max_length=64, pack=pack, learn_prompts=True, stream=stream)
        task = find_task(config.task)
        made.append(prepare(config, task, base, read_data(config, task), tmp_path / "cache").inputs)
    whole, streamed = made
    assert [example.sequences for example in streamed.train] == [example.sequences for example in whole.train]
    assert streamed.lengths == whole.lengths
    assert (len(whole.train) < 21) == pack


def test_rows_are_measured_alike_in_one_piece_and_in_several(run_tiny: Callable[..., TrainResult],
                                                             monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = run_tiny(output=tmp_path / "whole", fractions=(0.5, 0.0, 0.5))
    monkeypatch.setattr(evaluate, "SORTED_ROWS", 5)
    pieces = run_tiny(output=tmp_path / "pieces", fractions=(0.5, 0.0, 0.5))
    assert pieces.evaluation.n_rows == whole.evaluation.n_rows == 21
    assert pieces.evaluation == whole.evaluation


def test_a_second_run_encodes_nothing(tiny_config: Config, tiny_base_folder: Path, tmp_path: Path,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(registry=str(tmp_path), cache=tmp_path / "cache", data=None, shipped_registry=None)
    run_training(tiny_config(output=tmp_path / "one"), settings)
    monkeypatch.setattr(Encoder, "encode_rows", lambda *_: pytest.fail("rows were encoded again"))
    run_training(tiny_config(output=tmp_path / "two"), settings)


def test_what_was_found_is_told_before_training_and_kept(tiny_config: Config, tiny_settings: Settings,
                                                         tmp_path: Path) -> None:
    rows = intent_rows(3)
    data = write_rows(tmp_path / "rows.jsonl", [*rows, *rows[:4], {**rows[7], "label": "card"}])
    told: list[tuple[DataReport, int]] = []
    config = tiny_config(data=str(data), remove_duplicates=True, label_map={"travel": "trip"}, max_length=8)
    result = run_training(config, tiny_settings, tell=lambda *facts: told.append(facts))
    assert told == [(result.report, 8)]
    assert result.report.n_repeated >= 4
    assert result.folder is not None
    kept = read_folder(result.folder).manifest
    assert kept.labels == ["card", "loan", "trip"]
    assert kept.data.n_rows == result.report.n_rows
    assert kept.training.hyperparameters["label_map"] == '{"travel": "trip"}'
    assert kept.training.hyperparameters["rows_removed"] == result.report.n_removed >= 4
    assert kept.training.hyperparameters["texts_in_conflict"] == 1
    assert kept.training.hyperparameters["rows_cut_train"] == result.n_truncated
    assert "| rows_removed |" in (result.folder / "README.md").read_text()


_PREPARE = """
import sys
from pathlib import Path
from adapterhub.bases.load import load_base
from adapterhub.tasks.table import find_task
from adapterhub.training import evaluate
from adapterhub.training.config import TrainConfig
from adapterhub.training.prepare import prepare, read_data
import datasets, pyarrow.parquet, sklearn.utils.class_weight
base, data, cache = sys.argv[1:]
config = TrainConfig(task="text-classification", data=data, output=Path("unused"), base=base, max_length=16,
                     stream=True)
task, opened = find_task(config.task), load_base(base, cache=Path(cache))
opened.tokenizer(["warm up"])
print("ready", flush=True)
sys.stdin.readline()
made = prepare(config, task, opened, read_data(config, task), Path(cache))
print(len(made.inputs.train), len(made.inputs.lengths), flush=True)
"""


def anonymous_bytes(pid: int) -> int:
    """Return a process's memory that is its own: pages of a mapped file are the system's to take back."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon"))


def growth_of(data: Path, base: Path, cache: Path) -> int:
    """Prepare a streamed file in a process of its own; return by how many bytes its memory grew at its highest."""
    process = subprocess.Popen([sys.executable, "-c", _PREPARE, str(base), str(data), str(cache)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"})
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "ready\n"
        start = highest = anonymous_bytes(process.pid)
        process.stdin.write("go\n")
        process.stdin.flush()
        while process.poll() is None:
            try:
                highest = max(highest, anonymous_bytes(process.pid))
            except (StopIteration, FileNotFoundError):  # it has just ended
                break
            time.sleep(0.005)
        assert process.stdout.read().split() == ["2800", "2800"]
    return highest - start


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_streamed_rows_take_memory_for_a_piece_of_them(tiny_base_folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "large.jsonl"
    with data.open("w") as file:
        for i in range(4000):
            file.write(json.dumps({"text": f"{i} card", "label": "ab"[i % 2], "notes": "x" * 10000}) + "\n")
    size = data.stat().st_size
    streamed = growth_of(data, tiny_base_folder, tmp_path / "streamed")
    assert streamed < 0.8 * size, f"{streamed:,} bytes for a file of {size:,}"  # as a whole it took 3 times its size
