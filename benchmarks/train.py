"""The trainer beside `Trainer` with PEFT, beside full fine-tuning, and beside itself when it is killed.

Both trainers learn the same rows of banking77 with the same base, rank, targets, rows per step, rate and epochs, each
in a process of its own, step by step in turn. What makes the difference: batches of like length, so that little is
padded, and bfloat16 where the processor computes it natively; in float32 only the first is left. Few steps learn more
here because BERT's pooler is trained whole with the head; as the documentation has it, LoRA adapts it like any layer.

A full run learns 2,310 drawn rows in four epochs: rows per second do not depend on how many rows there are.

The step and memory ratios are those of rows of exactly 64 tokens, 32 a step, where nothing is padded. With gradient
checkpointing alone a quarter of full fine-tuning's memory is not reached on a base this small: a good half of what is
left are the weights, the libraries' own pages and the trained tensors' state, and a third is one layer's activations,
computed again. Split into two passes of half the rows, which gives the same step, that third is halved.
"""

import gzip
import json
import random
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from adapterhub.costs.turns import ArmSettings, in_turn, run_arms, started
from adapterhub.progress import progress_bar
from adapterhub.settings import Settings
from adapterhub.training.config import TrainConfig
from benchmarks.adapters_made import embedded_base, scratch_folder
from benchmarks.report import Figure, Options, run
from benchmarks.texts import TextSource
from benchmarks.train_kills import largest_difference

RANK, BATCH_SIZE, LEARNING_RATE = 8, 32, 2e-3
N_TOKENS = 64
Row = Mapping[str, str]


def measure(options: Options) -> list[Figure]:
    """Measure speed beside `Trainer`, step and memory beside full fine-tuning, and the kills."""
    with scratch_folder() as place:
        return [*_beside_trainer(place, options), *_beside_full(place, options), *_killed(place, options)]


def _beside_trainer(place: Path, options: Options) -> list[Figure]:
    n_per_label, n_epochs = (10, 2) if options.is_quick else (30, 4)
    data = _banking_rows(place / "banking77", n_per_label, n_test=10 if options.is_quick else 40, seed=options.seed)
    n_rows = len((data / "train.jsonl").read_text().splitlines())
    common = {"data": str(data), "rank": RANK, "epochs": n_epochs, "batch_size": BATCH_SIZE,
              "learning_rate": LEARNING_RATE, "precision": "float32"}
    contenders: dict[str, dict[str, Any]] = {
        "adapterhub": {**common, "who": "adapterhub", "precision": "auto"},
        "adapterhub, float32": {**common, "who": "adapterhub"}, "Trainer with PEFT": {**common, "who": "trainer"}}
    found = _in_turns(place, contenders)
    rates = {name: n_rows * n_epochs / sum(figures["seconds"]) for name, figures in found.items()}
    figures = [Figure(name=f"{name}: rows per second", value=rate, unit="rows/s") for name, rate in rates.items()]
    theirs = found.pop("Trainer with PEFT")
    figures += [Figure(name=f"{name}: accuracy less Trainer's", value=ours["accuracy"] - theirs["accuracy"], unit="",
                       at_least=-0.015, note=f"{ours['accuracy']:.3f}, Trainer {theirs['accuracy']:.3f}, one seed")
                for name, ours in found.items()]
    figures += [Figure(name=f"{name}: speed over Trainer's", value=rates[name] / rates["Trainer with PEFT"], unit="x",
                       at_least=1.3 if name == "adapterhub" else None,
                       note=f"processor's time {_ratio(theirs, ours, 'processor_seconds'):.2f}x")
                for name, ours in found.items()]
    return figures


def _ratio(over: Mapping[str, Any], under: Mapping[str, Any], what: str) -> float:
    return float(sum(over[what]) / sum(under[what]))


def _in_turns(place: Path, contenders: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    with ExitStack() as stack:
        running = [stack.enter_context(started("benchmarks.train_contender", {**given, "output": str(place / name)},
                                               name, place / name)) for name, given in contenders.items()]
        n_steps = sum(int(contender.listen()["n_steps"]) for contender in running)
        progress = stack.enter_context(progress_bar("training in turn", n_steps))
        for n_done, contender in in_turn(running):
            progress.update(n_done, contender.name)
        return {contender.name: contender.result for contender in running if contender.result}


def _beside_full(place: Path, options: Options) -> list[Figure]:
    n_steps = 5 if options.is_quick else 40
    data = _even_rows(place / "even.jsonl", BATCH_SIZE * n_steps, options.seed)
    names: dict[str, dict[str, Any]] = {
        "full": {}, "all linear layers": {}, "query and value": {"targets": ("query", "value")},
        "all linear layers, gradient checkpointing": {"gradient_checkpointing": True},
        "all linear layers, gradient checkpointing in two passes": {"gradient_checkpointing": True, "accumulation": 2}}
    arms = {place / name: ArmSettings(
        method="full" if name == "full" else "lora", task="text-classification", data=data, base="embedded", epochs=2,
        batch_size=BATCH_SIZE, max_length=N_TOKENS, name=name, keeps_result=False,
        more={"fractions": (1.0, 0.0, 0.0), **more}) for name, more in names.items()}
    found = dict(zip(names, run_arms(arms), strict=True))
    full = found.pop("full")
    limits = {"all linear layers": (0.92, 0.75), "query and value": (0.72, 0.58),
              "all linear layers, gradient checkpointing": (None, None),
              "all linear layers, gradient checkpointing in two passes": (None, 0.25)}
    steps = [Figure(name=f"{name}: step over full fine-tuning's", unit="x", at_most=limits[name][0],
                    value=arm.step_processor_seconds / full.step_processor_seconds,
                    note=f"processor's time; wall {arm.step_seconds / full.step_seconds:.2f}x")
             for name, arm in found.items()]
    memory = [Figure(name=f"{name}: peak memory above the start over full fine-tuning's", unit="x",
                     value=arm.peak_memory_bytes / full.peak_memory_bytes, at_most=limits[name][1],
                     note=f"{arm.peak_memory_bytes / 1e6:.0f} of {full.peak_memory_bytes / 1e6:.0f} MB")
              for name, arm in found.items()]
    return steps + memory


def _killed(place: Path, options: Options) -> list[Figure]:
    n_kills = 5 if options.is_quick else 20
    data = place / "few.jsonl"
    source = TextSource(embedded_base(), options.seed)
    data.write_text("".join(json.dumps({"text": source.text(8), "label": "ab"[i % 2]}) + "\n" for i in range(80)))

    def config_for(name: str) -> TrainConfig:
        return TrainConfig(task="text-classification", data=str(data), output=place / name, epochs=4, batch_size=8,
                           max_length=16, dropout=0.2, checkpoint_seconds=0, dtype="float32", patience=4)

    with progress_bar("killing", n_kills) as progress:
        worst, n_done = largest_difference(config_for, n_kills, options.seed, progress.update)
    return [Figure(name="killed and resumed: largest difference of a weight", value=worst, unit="", at_most=0.0,
                   n_runs=n_done, note=f"{n_done} SIGKILLs at drawn steps, dropout on")]


def _banking_rows(folder: Path, n_train: int, n_test: int, seed: int) -> Path:
    """Write as many drawn rows of each of banking77's labels as two files that both trainers read."""
    source = Settings.from_environment().data
    if source is None:
        raise SystemExit("The data folder is not there: set ADAPTERHUB_DATA.")
    drawn = random.Random(seed)
    folder.mkdir()
    for name, path, n_per_label in (("train", "train.jsonl.gz", n_train), ("test", "test.jsonl", n_test)):
        whole = source / "data" / "banking77" / path
        lines = gzip.decompress(whole.read_bytes()) if path.endswith(".gz") else whole.read_bytes()
        by_label: dict[str, list[str]] = {}
        for line in lines.decode().splitlines():
            by_label.setdefault(json.loads(line)["label"], []).append(line)
        kept = [line for rows in by_label.values() for line in drawn.sample(rows, min(n_per_label, len(rows)))]
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in kept))
    return folder


def _even_rows(path: Path, n_rows: int, seed: int) -> Path:
    source = TextSource(embedded_base(), seed)
    path.write_text("".join(json.dumps({"text": source.text(N_TOKENS), "label": f"label {i % 77}"}) + "\n"
                            for i in range(n_rows)))
    return path


if __name__ == "__main__":
    run("train", measure)
