"""What serves tasks while it is measured, in a process of its own: `python -m adapterhub.costs.serving_process`.

In: what to serve, then a line for each thing to do: hold more tasks, tell its memory, answer rows, swap a task. Out: a
line once libraries are imported, then one for each thing done.
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
from adapterhub.costs.arm import own_channel
from adapterhub.costs.many import ManyAdapters, name_of
from adapterhub.errors import AdapterHubError
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.engine import Runtime
from adapterhub.settings import Settings
from adapterhub.tasks.table import find_task
from adapterhub.training.evaluate import compute_outputs

BATCH_SIZE, LENGTH = 32, 64
TEXTS = ("i still have not got my money back", "where is my card", "please cancel it, and tell me when it comes")


class Serving(Protocol):
    """Tasks that are served."""

    def hold(self, n_tasks: int) -> None:
        """Hold so many tasks from now on, no fewer than before."""

    def answer(self) -> int:
        """Answer about a batch of rows of all tasks; return how many."""

    def swap(self) -> None:
        """Let another task's weights answer a row; as many tasks are held as before."""


def main() -> None:
    """Do what each line asks with what the first one names."""
    warnings.simplefilter("ignore")
    say = own_channel()
    given = json.loads(sys.stdin.readline())
    give_memory_back()
    make = AdaptersServed if given["kind"] == "adapters" else ModelsServed
    serving: list[Serving] = []
    say({"kind": given["kind"]})
    for line in sys.stdin:
        asked = json.loads(line)
        begun = time.perf_counter()
        try:
            if not serving:  # loading the base is part of holding the first task
                serving.append(make(given["base"], Path(given["folder"]), Settings.from_environment()))
            say(_done(serving[0], asked, begun))
        except AdapterHubError as error:
            say({"fault": str(error)})


def _done(serving: Serving, asked: dict[str, Any], begun: float) -> dict[str, Any]:
    """Do one thing that was asked; return what it took or found."""
    if asked["do"] == "memory":
        give_memory_back()
        memory = psutil.Process().memory_full_info()
        return {"own_bytes": memory.uss, "shared_bytes": memory.rss - memory.uss}
    if asked["do"] == "answer":
        return {"rows_per_s": _rows_per_s(serving, asked["seconds"])}
    if asked["do"] == "hold":
        serving.hold(asked["n_tasks"])
    else:
        serving.swap()
    return {"seconds": time.perf_counter() - begun}


def _rows_per_s(serving: Serving, seconds: float) -> float:
    serving.answer()
    n_rows, begun = 0, time.perf_counter()
    while (taken := time.perf_counter() - begun) < seconds:
        n_rows += serving.answer()
    return n_rows / taken


class AdaptersServed:
    """One base, and an adapter for each task in its slot."""

    def __init__(self, base: str, folder: Path, settings: Settings) -> None:
        self._runtime = Runtime(base, ManyAdapters([folder]), settings=settings,
                                config=RuntimeConfig(slots_bytes=8 << 30, host_bytes=0, disk_bytes=0))
        self._row, self._numbers, self._names = _row_of(folder), itertools.count(), map(name_of, itertools.count())
        self._held: list[str] = []

    def hold(self, n_tasks: int) -> None:
        """Load as many adapters."""
        while len(self._held) < n_tasks:
            self._held.append(next(self._names))
            self._runtime.load(self._held[-1])

    def answer(self) -> int:
        """Answer a batch in which every row names the next task."""
        self._runtime.predict([(self._held[next(self._numbers) % len(self._held)], self._row(i))
                               for i in range(BATCH_SIZE)])
        return BATCH_SIZE

    def swap(self) -> None:
        """Let go of an adapter, load one that was never there, and answer a row with it."""
        given_up, self._held[0] = self._held[0], next(self._names)
        self._runtime.unload(given_up)
        self._runtime.predict([(self._held[0], self._row(0))])

    def digests(self) -> list[str]:
        """Return what is in slots."""
        return self._runtime.resident_digests()


class ModelsServed:
    """A whole model in float32 for each task, as transformers serves it: a batch is one task's, there is no mixing."""

    def __init__(self, base: str, folder: Path, settings: Settings) -> None:
        manifest = read_folder(folder).manifest
        self._folder, self._labels, self._task = folder, list(manifest.labels), find_task(manifest.task)
        self._base = load_base(base, cache=settings.cache)
        self._row, self._numbers = _row_of(folder), itertools.count()
        self.models: list[torch.nn.Module] = []

    def hold(self, n_tasks: int) -> None:
        """Load as many models."""
        self.models += [self._load() for _ in range(len(self.models), n_tasks)]

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
