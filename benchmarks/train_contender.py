"""One contender of benchmarks/train.py, in a process of its own: adapterhub's trainer, or `Trainer` with PEFT.

`python -m benchmarks.train_contender`, by the protocol of adapterhub/costs/arm.py. `Trainer` is set up as the PEFT
documentation's sequence classification does it: `LoraConfig`, `get_peft_model`, `DataCollatorWithPadding`.
"""

import json
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from adapterhub.bases.load import load_base
from adapterhub.costs.allocator import keep_memory
from adapterhub.costs.arm import Say, import_ahead, own_channel, wait_for_turn
from adapterhub.progress import Progress, Silent
from adapterhub.settings import Settings
from adapterhub.training.config import TrainConfig
from adapterhub.training.run import run_training


def main() -> None:
    """Train as the first line says, a step for each further line, and print the figures last."""
    warnings.simplefilter("ignore")
    say = own_channel()
    given = json.loads(sys.stdin.readline())
    import_ahead()
    keep_memory()
    turns = Turns(say)
    accuracy = train_with_trainer(given, turns) if given["who"] == "trainer" else train_with_adapterhub(given, turns)
    say({"figures": {"accuracy": accuracy, "seconds": turns.seconds, "processor_seconds": turns.processor_seconds}})


class Turns:
    """Takes a step at a time, and times everything between one turn and the word that it is over."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self.seconds: list[float] = []
        self.processor_seconds: list[float] = []

    @contextmanager
    def begin(self, title: str, total: int) -> Iterator[Progress]:
        """Say how many steps there will be, and wait for the first turn; show nothing of other work."""
        if not title.startswith("training "):
            yield Silent()
            return
        self.announce(total)
        yield self

    def announce(self, total: int) -> None:
        """Say how many steps there will be, and wait for the first turn."""
        self._say({"n_steps": total})
        self._wait()

    def update(self, completed: int, note: str = "") -> None:
        """Report a step and wait."""
        self.seconds.append(time.perf_counter() - self._begun)
        self.processor_seconds.append(time.process_time() - self._processor)
        self._say({"step": completed})
        self._wait()

    def _wait(self) -> None:
        wait_for_turn()
        self._begun, self._processor = time.perf_counter(), time.process_time()


def train_with_adapterhub(given: dict[str, Any], turns: Turns) -> float:
    """Train by the settings' defaults but for what both share, and return the accuracy on the test rows."""
    config = TrainConfig(task="text-classification", data=given["data"], output=Path(given["output"]),
                         rank=given["rank"], epochs=given["epochs"], batch_size=given["batch_size"],
                         learning_rate=given["learning_rate"], precision=given["precision"], is_validated=False,
                         fractions=(1.0, 0.0, 0.0))
    return float(run_training(config, Settings.from_environment(), turns.begin).evaluation.metrics["accuracy"])


def train_with_trainer(given: dict[str, Any], turns: Turns) -> float:
    """Train by `Trainer` and PEFT, and return the accuracy on the test rows."""
    base = load_base("embedded", cache=Settings.from_environment().cache)
    parts = {name: [json.loads(line) for line in (Path(given["data"]) / f"{name}.jsonl").read_text().splitlines()]
             for name in ("train", "test")}
    labels = sorted({row["label"] for row in parts["train"]})

    def encode(rows: list[dict[str, str]]) -> list[dict[str, Any]]:
        encoded = base.tokenizer([row["text"] for row in rows], truncation=True, max_length=128)
        return [{"input_ids": ids, "attention_mask": mask, "labels": labels.index(row["label"])}
                for ids, mask, row in zip(encoded["input_ids"], encoded["attention_mask"], rows, strict=True)]

    model = AutoModelForSequenceClassification.from_pretrained(str(base.source.folder), num_labels=len(labels))
    peft_config = LoraConfig(task_type="SEQ_CLS", r=given["rank"], lora_alpha=2 * given["rank"],
                             target_modules="all-linear")
    trainer = Trainer(
        model=get_peft_model(model, peft_config),
        args=TrainingArguments(output_dir=given["output"], learning_rate=given["learning_rate"], weight_decay=0.01,
                               per_device_train_batch_size=given["batch_size"], num_train_epochs=given["epochs"],
                               save_strategy="no", seed=0, disable_tqdm=True),
        train_dataset=encode(parts["train"]),
        data_collator=DataCollatorWithPadding(base.tokenizer), callbacks=[_InTurns(turns)])
    trainer.train()
    predicted: Any = trainer.predict(encode(parts["test"]))  # type: ignore[arg-type]  # a list is a map-style dataset
    return float((predicted.predictions.argmax(-1) == predicted.label_ids).mean())


class _InTurns(TrainerCallback):
    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Wait for the first turn."""
        self._turns.announce(state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Report the step and wait."""
        self._turns.update(state.global_step)


if __name__ == "__main__":
    main()
