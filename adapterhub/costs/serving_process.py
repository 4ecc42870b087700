"""What serves tasks while it is measured, in a process of its own: `python -m adapterhub.costs.serving_process`.

In: what to serve, then an empty line for each thing to do. Out: ready, its memory, rows answered, a task swapped.
"""

import itertools
import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import psutil
import torch
from peft import PeftModel

from adapterhub.adapter.folder import read_folder
from adapterhub.bases.load import load_base
from adapterhub.costs.allocator import give_memory_back
from adapterhub.costs.arm import own_channel, wait_for_turn
from adapterhub.costs.many import ManyAdapters, name_of
from adapterhub.errors import AdapterHubError
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.engine import Runtime
from adapterhub.settings import Settings
from adapterhub.tasks.table import find_task
from adapterhub.training.evaluate import compute_outputs

SECONDS, BATCH_SIZE, LENGTH = 3.0, 32, 64
TEXTS = ("i still have not got my money back", "where is my card", "please cancel it, and tell me when it comes")


class Serving(Protocol):
    """Tasks that are served."""

    def answer(self) -> int:
        """Answer about a batch of rows of all tasks; return how many."""

    def swap(self) -> None:
        """Let another task's weights answer a row."""


def main() -> None:
    """Serve what the first line names."""
    warnings.simplefilter("ignore")
    say = own_channel()
    given = json.loads(sys.stdin.readline())
    give_memory_back()
    started = time.perf_counter()
    serve = AdaptersServed if given["kind"] == "adapters" else ModelsServed
    try:
        serving: Serving = serve(given["base"], Path(given["folder"]), int(given["n_tasks"]),
                                 Settings.from_environment())
    except AdapterHubError as error:
        say({"fault": str(error)})
        return
    say({"ready": {"seconds": time.perf_counter() - started}})
    wait_for_turn()
    give_memory_back()
    say({"memory": {"memory_bytes": int(psutil.Process().memory_full_info().pss)}})
    wait_for_turn()
    say({"answered": {"rows_per_s": _rows_per_s(serving)}})
    wait_for_turn()
    begun = time.perf_counter()
    serving.swap()
    say({"swapped": {"seconds": time.perf_counter() - begun}})


def _rows_per_s(serving: Serving) -> float:
    serving.answer()
    n_rows, begun = 0, time.perf_counter()
    while (taken := time.perf_counter() - begun) < SECONDS:
        n_rows += serving.answer()
    return n_rows / taken


class AdaptersServed:
    """One base, and an adapter for each task in its slot."""

    def __init__(self, base: str, folder: Path, n_tasks: int, settings: Settings) -> None:
        self._runtime = Runtime(base, ManyAdapters([folder]), settings=settings,
                                config=RuntimeConfig(slots_bytes=8 << 30, host_bytes=0, disk_bytes=0))
        self._row, self._n_tasks, self._numbers = _row_of(folder), n_tasks, itertools.count()
        for number in range(n_tasks):
            self._runtime.load(name_of(number))

    def answer(self) -> int:
        """Answer a batch in which every row names the next task."""
        self._runtime.predict([(name_of(next(self._numbers) % self._n_tasks), self._row(i)) for i in range(BATCH_SIZE)])
        return BATCH_SIZE

    def swap(self) -> None:
        """Load one more adapter and answer a row with it."""
        self._runtime.predict([(name_of(self._n_tasks), self._row(0))])

    def digests(self) -> list[str]:
        """Return what is in slots."""
        return self._runtime.resident_digests()


class ModelsServed:
    """A whole model in float32 for each task, as transformers serves it: a batch is one task's, there is no mixing."""

    def __init__(self, base: str, folder: Path, n_tasks: int, settings: Settings) -> None:
        manifest = read_folder(folder).manifest
        self._folder, self._labels, self._task = folder, list(manifest.labels), find_task(manifest.task)
        self._base = load_base(base, cache=settings.cache)
        self._row, self._numbers = _row_of(folder), itertools.count()
        self.models = [self._load() for _ in range(n_tasks)]

    def answer(self) -> int:
        """Answer a batch, shared among the tasks."""
        share = max(1, BATCH_SIZE // len(self.models))
        for _ in range(BATCH_SIZE // share):
            self._compute(self.models[next(self._numbers) % len(self.models)], share)
        return BATCH_SIZE // share * share

    def swap(self) -> None:
        """Load a model in the place of another and answer a row with it."""
        self.models[0] = self._load()
        self._compute(self.models[0], 1)

    def _load(self) -> torch.nn.Module:
        plain = self._base.load_with_head(self._task.auto_class, n_labels=max(1, len(self._labels)))
        merged: Any = PeftModel.from_pretrained(plain, str(self._folder)).merge_and_unload()
        for parameter in merged.parameters():  # its own memory, as weights that were trained have
            parameter.data = parameter.data.clone()
        model: torch.nn.Module = merged.eval()
        return model

    def _compute(self, model: torch.nn.Module, n_rows: int) -> None:
        rows = [self._task.parse_row(self._row(i)) for i in range(n_rows)]
        examples = self._task.encode(rows, self._base.tokenizer, self._labels, LENGTH)
        compute_outputs(model, self._task, examples, int(self._base.tokenizer.pad_token_id or 0))


def _row_of(folder: Path) -> Callable[[int], Any]:
    """Return rows of an adapter's task, by number."""
    task = read_folder(folder).manifest.task
    if task == "sentence-similarity":
        return lambda number: {"query": TEXTS[number % 3], "candidates": list(TEXTS)}
    if task == "question-answering":
        return lambda number: {"question": "where?", "context": TEXTS[number % 3]}
    return lambda number: TEXTS[number % 3]


if __name__ == "__main__":
    main()
