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
from typing import Any

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

SECONDS, BATCH_SIZE = 3.0, 32
TEXTS = ("i still have not got my money back for the order of last week", "where is my card",
         "please cancel it, and tell me when the parcel with the other boots will come to my house in Leeds")


def main() -> None:
    """Serve what the first line names."""
    warnings.simplefilter("ignore")
    say = own_channel()
    given = json.loads(sys.stdin.readline())
    give_memory_back()
    started = time.perf_counter()
    try:
        serve = _adapters if given["kind"] == "adapters" else _models
        answer, swap = serve(given["base"], Path(given["folder"]), int(given["n_tasks"]))
    except AdapterHubError as error:
        say({"fault": str(error)})
        return
    say({"ready": {"seconds": time.perf_counter() - started}})
    wait_for_turn()
    give_memory_back()
    say({"memory": {"memory_bytes": int(psutil.Process().memory_full_info().pss)}})
    wait_for_turn()
    say({"answered": {"rows_per_s": _rows_per_s(answer)}})
    wait_for_turn()
    begun = time.perf_counter()
    swap()
    say({"swapped": {"seconds": time.perf_counter() - begun}})


def _rows_per_s(answer: Callable[[], int]) -> float:
    answer()
    n_rows, begun = 0, time.perf_counter()
    while (taken := time.perf_counter() - begun) < SECONDS:
        n_rows += answer()
    return n_rows / taken


def _adapters(base: str, folder: Path, n_tasks: int) -> tuple[Callable[[], int], Callable[[], object]]:
    registry = ManyAdapters([folder])
    runtime = Runtime(base, registry, settings=Settings.from_environment(),
                      config=RuntimeConfig(slots_bytes=8 << 30, host_bytes=0, disk_bytes=0))
    for number in range(n_tasks):
        runtime.load(name_of(number))
    numbers = itertools.count()
    row = _row_of(folder)

    def answer() -> int:
        runtime.predict([(name_of(next(numbers) % n_tasks), row(i)) for i in range(BATCH_SIZE)])
        return BATCH_SIZE

    def swap() -> None:
        runtime.load(name_of(n_tasks))
        runtime.predict([(name_of(n_tasks), row(0))])
    return answer, swap


def _models(base: str, folder: Path, n_tasks: int) -> tuple[Callable[[], int], Callable[[], object]]:
    """Whole models in float32, as transformers serves them: each batch is one task's, for there is no mixing them."""
    manifest, opened = read_folder(folder).manifest, load_base(base, cache=Settings.from_environment().cache)
    task, labels, row = find_task(manifest.task), list(manifest.labels), _row_of(folder)

    def model() -> torch.nn.Module:
        plain = opened.load_with_head(task.auto_class, n_labels=max(1, len(labels)))
        merged: Any = PeftModel.from_pretrained(plain, str(folder)).merge_and_unload()
        for parameter in merged.parameters():  # its own memory, as weights that were trained have
            parameter.data = parameter.data.clone()
        return merged.eval()  # type: ignore[no-any-return]

    models = [model() for _ in range(n_tasks)]
    numbers = itertools.count()

    def examples(n_rows: int) -> list[Any]:
        return list(task.encode([task.parse_row(row(i)) for i in range(n_rows)], opened.tokenizer, labels, 128))

    def answer() -> int:
        share = max(1, BATCH_SIZE // n_tasks)  # rows of one batch that are one task's
        for _ in range(BATCH_SIZE // share):
            compute_outputs(models[next(numbers) % n_tasks], task, examples(share),
                            int(opened.tokenizer.pad_token_id or 0))
        return BATCH_SIZE // share * share

    def swap() -> None:
        models[0] = model()
        compute_outputs(models[0], task, examples(1), int(opened.tokenizer.pad_token_id or 0))
    return answer, swap


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
