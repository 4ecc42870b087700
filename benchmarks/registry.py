"""Measure publishing, pulling, resolving, searching and indexing, with very many adapters.

    python -m benchmarks.registry --quick --check

What bound holds, and why. A refresh with 100 new asks the system for four times per adapter, since a yank or a moved
alias changes the innermost folder alone: more than half of its time is those calls. Asking relative to the root's own
descriptor, and remembering unchanged names in memory instead of a table, were tried and gave 4 % each. Indexing from
nothing reads four small files per adapter, and more than half of its processor time is the system's; what is beyond
the processor's share is waiting for the disk. Room for sqlite's pages gave a quarter; two reading threads took twice
as long (the interpreter has one lock). Runs on two cores took 55 to 74 s.
"""

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

from adapterhub.files import sha256_of_bytes
from adapterhub.registry import Registry
from adapterhub.registry.find import Filters, find
from adapterhub.registry.index import SearchIndex
from benchmarks.registry_folders import ManyAdapters, folder_files, path_of, write_folder
from benchmarks.report import Figure, Options, median_figure, run, timed

FULL, QUICK = 100_000, 5_000
N_NEW = 100
LARGE = {"hidden": 65_536, "n_layers": 25}
"""25 pairs of 8 x 65,536 in float32: 105 MB."""
N_RUNS = 3


def measure(options: Options) -> list[Figure]:
    """Measure the registry's speed and memory against the targets."""
    n_adapters = QUICK if options.is_quick else FULL
    with tempfile.TemporaryDirectory() as place:
        return [*large_folder(Path(place) / "large"), *many_adapters(Path(place) / "many", n_adapters)]


def large_folder(place: Path) -> list[Figure]:
    """Publish and pull about 100 MB, beside copying and hashing the same bytes once, synced alike."""
    folder = write_folder(place / "folder", folder_files(seed=1, **LARGE))
    size = sum(path.stat().st_size for path in folder.iterdir())
    counter = iter(range(1000))
    copying, publishing, pulling, reading = [], [], [], []
    for _ in range(N_RUNS + 1):  # in turns, so that a slower minute of the machine meets all alike
        copying.append(_seconds(lambda: _copy_and_hash(folder, place / f"copy{next(counter)}")))
        registry = Registry(place / f"registry{next(counter)}")
        publishing.append(_seconds(lambda registry=registry: registry.publish(folder, "a/b")))
        pulling.append(_seconds(lambda registry=registry: registry.pull("a/b", place / f"pulled{next(counter)}")))
        reading.append(_seconds(lambda registry=registry: registry.verify("a/b")))
    rates = {name: [size / 1e6 / second for second in seconds[1:]] for name, seconds in
             (("copy and hash once", copying), ("publish", publishing), ("pull", pulling), ("verify", reading))}
    figures = [median_figure(name, values, "MB/s", note=f"{size / 1e6:.0f} MB, files synced")
               for name, values in rates.items()]
    for name in ("publish", "pull"):
        shares = [mine / plain for mine, plain in zip(rates[name], rates["copy and hash once"], strict=True)]
        figures.append(median_figure(f"{name}, share of copying and hashing", shares, "", at_least=0.7))
    return figures


def many_adapters(place: Path, n_adapters: int) -> list[Figure]:
    """Resolve, search and index in a registry of very many."""
    root, share = place / "registry", n_adapters / FULL
    many = ManyAdapters(root)
    many.add(range(n_adapters))
    note = f"{n_adapters:,} adapters"
    registry, chosen = Registry(root), random.Random(0)  # which adapters are asked, no secret

    def resolve() -> None:
        registry.resolve(f"{path_of(chosen.randrange(n_adapters))}@production")

    resolving = timed(resolve, n_runs=500, n_warmups=50)
    index = SearchIndex(registry.store, place / "index.sqlite")
    processor = process_time()
    from_nothing = _seconds(index.refresh)
    processor = process_time() - processor
    _age(root)
    index.refresh()
    unchanged = _seconds(index.refresh)
    asking = _seconds(lambda: _ask_for_times(root))
    many.add(range(n_adapters, n_adapters + N_NEW))
    new = _seconds(index.refresh)
    questions = [Filters(text="bank"), Filters(text="travel number"), Filters(min_metrics=(("accuracy", 0.9),)),
                 Filters(alias="production", sort="newest"), Filters(base="embedded", max_rank=8, offset=1000)]
    searching = [second for filters in questions
                 for second in timed(lambda filters=filters: find(index, filters), n_runs=10)]
    index.close()
    ManyAdapters(place / "few").add(range(1000))
    few, all_of_them = (_peak_bytes(where, place / f"{where.name}.sqlite") for where in (place / "few", root))
    return [
        median_figure("resolve name@alias", [1e3 * second for second in resolving], "ms", at_most=1.0, note=note),
        median_figure("search", [1e3 * second for second in searching], "ms", at_most=50.0,
                      note=f"{note}, {len(questions)} questions"),
        Figure(name="index from nothing", value=from_nothing, unit="s", at_most=60 * share,
               note=f"{note}; {processor:.1f} s of the processor"),
        Figure(name=f"index, {N_NEW} new", value=new, unit="s", at_most=2.0, note=note),
        Figure(name="index, nothing new", value=unchanged, unit="s",
               note=f"{note}; {asking:.2f} s of it is the bound: without a log of changes every folder must be asked"),
        Figure(name="memory of indexing, growth", value=(all_of_them - few) / 1e6, unit="MB", at_most=64.0,
               note=f"peak with {note} less peak with 1,000"),
    ]


def _copy_and_hash(folder: Path, target: Path) -> None:
    target.mkdir()
    for path in folder.iterdir():
        data = path.read_bytes()
        sha256_of_bytes(data)
        with (target / path.name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


def _seconds(work: Callable[[], object]) -> float:
    started = perf_counter()
    work()
    return perf_counter() - started


def _age(root: Path) -> None:
    """Let every folder be of yesterday, as it is on the next day."""
    for folder, _, _ in os.walk(root):
        facts = Path(folder).stat()
        os.utime(folder, ns=(facts.st_atime_ns, facts.st_mtime_ns - 86_400 * 10**9))


def _ask_for_times(root: Path) -> None:
    """Ask the system alone for what the index must know of each adapter to see that nothing of it changed.

    The names in it are known from the last time, here from how the adapters were made.
    """
    for namespace in os.scandir(root):
        for adapter in os.scandir(namespace):
            for place in ("versions", "versions/1", "aliases", "aliases/production"):
                os.stat(f"{adapter.path}/{place}")  # noqa: PTH116  # as the index asks, without a Path per folder


def _peak_bytes(root: Path, file: Path) -> int:
    """Index in a fresh process and return its highest resident set."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.registry_memory", str(root), str(file)],
                          check=True, capture_output=True, text=True)
    return int(done.stdout)


if __name__ == "__main__":
    run("registry", measure)
