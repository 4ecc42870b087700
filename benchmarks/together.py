"""Several adapters trained in one pass over the base, beside one after the other, and beside a process for each.

One pass takes the rows of all adapters as one batch through the frozen layers; each row meets its own adapter and head.
It is tried with the adapters' matrices stacked, and by PEFT's mixed batches, which can be differentiated where nothing
is dropped out; the gradients are those of passes in turn, and tests hold them to it.

It pays where each adapter's batch is too small to fill the processor. From a few hundred tokens of each adapter on, as
training usually has, it gives a tenth or less, so the trainer does not do it; what saves memory is to share the base.
"""

from contextlib import ExitStack

from adapterhub.costs.turns import in_turn, started
from adapterhub.progress import progress_bar
from benchmarks.adapters_made import scratch_folder
from benchmarks.report import Figure, Options, run
from benchmarks.together_contender import IN_TURN, MIXED, STACKED, Setting

SIZES = ((8, 2, 16), (16, 4, 16), (4, 8, 64), (4, 32, 64))
QUICK_SIZES = ((8, 2, 16), (4, 8, 64))
"""Adapters, rows of each, tokens of each row."""
SMALL_TOKENS = 100
"""Of each adapter in a step; with fewer one pass ought to be a third faster."""
ALONE = "alone"


def measure(options: Options) -> list[Figure]:
    """Train adapters in one pass, in turn, and alone, a step of each after the other."""
    figures = []
    for n_adapters, n_rows, length in QUICK_SIZES if options.is_quick else SIZES:
        found = _measured(n_adapters, n_rows, length, n_steps=6 if options.is_quick else 30, seed=options.seed)
        name = f"{n_adapters} adapters, {n_rows} rows of {length} tokens each"
        seconds, taken = ({way: one[what] for way, one in found.items()} for what in ("seconds", "bytes"))
        is_small = n_rows * length < SMALL_TOKENS
        figures += [
            Figure(name=f"{name}: steps in turn over one pass, stacked", unit="x", at_least=1.5 if is_small else 1.0,
                   value=seconds[IN_TURN] / seconds[STACKED], note=f"{1e3 * seconds[STACKED]:.0f} ms of processors"),
            Figure(name=f"{name}: steps in turn over one pass, PEFT's mixed batches", unit="x",
                   value=seconds[IN_TURN] / seconds[MIXED]),
            Figure(name=f"{name}: memory in one pass, stacked, over a process each", unit="x",
                   value=taken[STACKED] / (n_adapters * taken[ALONE]),
                   note=f"{taken[STACKED] / 1e6:.0f} MB; a process {taken[ALONE] / 1e6:.0f} MB"),
            Figure(name=f"{name}: memory in turn on one base over a process each", unit="x",
                   value=taken[IN_TURN] / (n_adapters * taken[ALONE]), note=f"{taken[IN_TURN] / 1e6:.0f} MB")]
    return figures


def _measured(n_adapters: int, n_rows: int, length: int, *, n_steps: int, seed: int) -> dict[str, dict[str, float]]:
    ways = {STACKED: (STACKED, n_adapters), MIXED: (MIXED, n_adapters), IN_TURN: (IN_TURN, n_adapters),
            ALONE: (IN_TURN, 1)}
    with scratch_folder() as place, ExitStack() as stack:
        running = [stack.enter_context(started("benchmarks.together_contender", Setting(
            way=way, n_adapters=n, n_rows=n_rows, length=length, n_steps=n_steps, seed=seed).to_dict(), name,
            place / name)) for name, (way, n) in ways.items()]
        total = sum(int(contender.listen()["n_steps"]) for contender in running)
        progress = stack.enter_context(progress_bar("training in turn", total))
        for n_done, contender in in_turn(running):
            progress.update(n_done, contender.name)
        return {contender.name: contender.result for contender in running if contender.result}


if __name__ == "__main__":
    run("together", measure)
