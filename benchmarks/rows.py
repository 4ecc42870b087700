"""What it gains to keep encoded rows, and what it costs in memory to hold rows rather than to stream them.

Time: short texts (Banking77) and long ones (medical abstracts) are read, divided and encoded with an empty cache, then
once more with what that left; in the processor's seconds, so that what other programs take is not counted. Of a second
start with short texts, reading and dividing them is half.
Memory: a file of texts is prepared by a fresh process, streamed and held; what counts is memory of the process's own,
for pages of a mapped file are the system's to take back. Needs ADAPTERHUB_DATA, and Linux for the memory.
"""

import json
import multiprocessing
import random
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from adapterhub.bases.load import Base, load_base
from adapterhub.errors import DataError
from adapterhub.settings import Settings
from adapterhub.tasks.table import find_task
from adapterhub.training.config import TrainConfig
from adapterhub.training.prepare import prepare, read_data
from benchmarks.alternation import ratio_figure
from benchmarks.report import Figure, Options, median_figure, run

WORDS = ("account", "card", "payment", "loan", "rate", "transfer", "money", "please", "help", "what", "where", "when")
MAX_LENGTH = 256
N_ROWS, N_QUICK_ROWS = 100_000, 20_000
LEAST_GAINS = {"banking77": 1.5, "medical_abstracts": 4.0}
"""A second start against the first, on the same rows."""
MOST_STREAMED_MB = 60.0
"""Whatever the size of the file: one piece of it, and some 20 bytes for each row."""


def measure(options: Options) -> list[Figure]:
    """Time a first and a second start on the same rows, and weigh rows that are streamed beside rows that are held."""
    settings = Settings.from_environment()
    if settings.data is None:
        raise DataError("There is no data to measure on.", hint="Set ADAPTERHUB_DATA to the folder that holds data/.")
    base = load_base("embedded", cache=settings.cache)
    figures = [figure for name in LEAST_GAINS
               for figure in _starts(name, settings.data / "data", base, n_rounds=2 if options.is_quick else 7)]
    n_rows = N_QUICK_ROWS if options.is_quick else N_ROWS
    with tempfile.TemporaryDirectory() as place:
        rows = _write_rows(Path(place) / "rows.jsonl", n_rows, options.seed)
        streamed, held = (_grown_mb(rows, Path(place) / f"cache-{is_streamed}", is_streamed=is_streamed)
                          for is_streamed in (True, False))
        note = f"{n_rows:,} rows of {rows.stat().st_size / 1e6:.0f} MB"
    return [*figures,
            Figure(name="memory for rows that are streamed", value=streamed, unit="MB", at_most=MOST_STREAMED_MB,
                   note=note),
            Figure(name="memory for rows that are held", value=held, unit="MB", note=note)]


def _starts(name: str, place: Path, base: Base, *, n_rounds: int) -> list[Figure]:
    """Measure first and second starts on one data set, each pair with a cache of its own."""
    first, second = list[float](), list[float]()
    for _ in range(n_rounds + 1):
        with tempfile.TemporaryDirectory() as cache:
            for seconds in (first, second):
                started = time.process_time()
                _prepare(str(place / name), base, Path(cache), is_streamed=False)
                seconds.append(time.process_time() - started)
    first, second = first[1:], second[1:]  # the first round imports
    return [median_figure(f"{name}: first start", first, "s"), median_figure(f"{name}: second start", second, "s"),
            ratio_figure(f"{name}: rows per second of the second over the first", first, second,
                         at_least=LEAST_GAINS[name])]


def _prepare(source: str, base: Base, cache: Path, *, is_streamed: bool) -> None:
    config = TrainConfig(task="text-classification", data=source, output=cache / "unused", stream=is_streamed,
                         max_length=MAX_LENGTH)
    task = find_task(config.task)
    prepare(config, task, base, read_data(config, task), cache)


def _write_rows(file: Path, n_rows: int, seed: int) -> Path:
    draw = random.Random(seed)
    with file.open("w", encoding="utf-8") as rows:
        for i in range(n_rows):
            rows.write(json.dumps({"text": " ".join([str(i), *draw.choices(WORDS, k=30)]), "label": f"l{i % 20}"}))
            rows.write("\n")
    return file


def _grown_mb(rows: Path, cache: Path, *, is_streamed: bool) -> float:
    """Return by how much a process's own memory grew at its highest while it prepared the rows."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(_watch_growth, str(rows), cache, is_streamed).result()


def _watch_growth(source: str, cache: Path, is_streamed: bool) -> float:
    base = load_base("embedded", cache=cache)
    base.tokenizer(["warm up"])
    start = _own_bytes()
    highest, is_done = [start], threading.Event()

    def watch() -> None:
        while not is_done.wait(0.01):
            highest[0] = max(highest[0], _own_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    _prepare(source, base, cache, is_streamed=is_streamed)
    is_done.set()
    watcher.join()
    return (highest[0] - start) / 1e6


def _own_bytes() -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon"))


if __name__ == "__main__":
    run("rows", measure)
