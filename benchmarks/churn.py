"""Thousands of loads, replacements and evictions under traffic: every answer is checked, and that memory stays.

Names point by an alias to one of a few published versions. In turn, an alias moves, an adapter is loaded ahead, one is
unloaded, and rows ask for adapters that are no longer in their slots, so that others are evicted; meanwhile a second
thread asks without a pause. Each answer names the digest that gave it, and is held against what PEFT alone says for
that version and text. A row that is asked after an alias moved must not get the version from before.

What bound holds, and why. Float32 sums are ordered otherwise in other batches: scores agree to 1e-4. Slots are reused
in place, files in host memory have a budget, and what is kept per name or per move is nothing; so resident memory ends
where it was after the first 500 changes, but for the allocator's gaps, which the 1 % leaves room for.
"""

import ctypes
import gc
import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch

from adapterhub.bases.load import Base
from adapterhub.errors import PredictionError
from adapterhub.registry import Registry, Version
from adapterhub.runtime.answer import Answer, Failure
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.engine import Runtime
from adapterhub.tasks.batch import collate
from adapterhub.tasks.subwords import encode_texts
from benchmarks.adapters_made import Recipe, embedded_base, scratch_folder, write_adapters
from benchmarks.peers import PeftPeer
from benchmarks.report import Figure, Options, run
from benchmarks.texts import TextSource

RECIPE = Recipe(rank=4, targets=("attention.self.query", "attention.self.value"), n_labels=5, head=("classifier",))
ALIAS = "live"
N_VERSIONS = 3
N_TEXTS = 6
N_TOKENS = 8
TOLERANCE = 1e-4
"""Between scores of one row alone and in a mixed batch, in float32."""
MOST_GROWTH = 0.01
SETTLED_AFTER = 500
"""Changes after which memory is first taken."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is done."""

    n_names: int
    n_slots: int
    n_changes: int


def measure(options: Options) -> list[Figure]:
    """Load, replace and evict under traffic; check every answer and the memory at the end."""
    sizes = Sizes(n_names=6, n_slots=4, n_changes=1_000) if options.is_quick else Sizes(32, 12, 10_000)
    base = embedded_base()
    with scratch_folder() as place:
        texts = TextSource(base, options.seed)
        published = Published(base, place, sizes, [texts.text(N_TOKENS) for _ in range(N_TEXTS)], options.seed)
        config = RuntimeConfig(dtype="float32", max_slots=sizes.n_slots, host_bytes=4 << 20)
        traffic = Traffic(Runtime(base, published.registry, config=config), published, options.seed)
        return traffic.churn(sizes.n_changes)


class Published:
    """Names with versions, an alias on each, and what PEFT says for every version and text."""

    def __init__(self, base: Base, place: Path, sizes: Sizes, texts: Sequence[str], seed: int) -> None:
        self.registry, self.texts = Registry(place / "registry"), list(texts)
        folders = write_adapters(place, base, RECIPE, range(seed, seed + sizes.n_names * N_VERSIONS))
        self.names = [f"churn/name-{i}" for i in range(sizes.n_names)]
        self.versions: dict[str, list[Version]] = {name: [] for name in self.names}
        self.scores: dict[tuple[str, str], torch.Tensor] = {}
        """(digest, text) -> probability of each label."""
        for name, folder in zip(itertools.cycle(self.names), folders, strict=False):
            version = self.registry.publish(folder, name)
            self.versions[name].append(version)
            for text, logits in zip(texts, _stock_logits(base, folder, texts), strict=True):
                self.scores[version.digest, text] = torch.softmax(logits, dim=-1)
        self.live = {name: self._move(name, 0) for name in self.names}
        """Name -> digest that its alias points to."""

    def replace(self, name: str, number: int) -> None:
        """Point a name's alias to another of its versions."""
        self.live[name] = self._move(name, number)

    def _move(self, name: str, number: int) -> str:
        version = self.versions[name][number]
        self.registry.promote(version.reference, ALIAS)
        return version.digest

    def fault_of(self, answer: Answer | Failure, text: str) -> str | None:
        """Return what is wrong with an answer, None where it is right."""
        if isinstance(answer, Failure):
            return str(answer.error)
        wanted = self.scores[answer.digest or "", text]
        for top in answer.result["top"]:
            right = float(wanted[RECIPE.labels.index(top["label"])])
            if abs(top["score"] - right) > TOLERANCE:
                return f"{answer.version} gave {top['label']} {top['score']:.6f}, PEFT gives {right:.6f}"
        return None


class Traffic:
    """Changes in one thread, rows without a pause in another."""

    def __init__(self, runtime: Runtime, published: Published, seed: int) -> None:
        self.runtime, self.published = runtime, published
        self._random = np.random.default_rng([seed, 1])
        self._is_over = threading.Event()
        self._lock = threading.Lock()  # guards the two below
        self.faults: list[str] = []
        self.n_answers = 0

    def churn(self, n_changes: int) -> list[Figure]:
        """Make the changes while rows are answered."""
        other = threading.Thread(target=self._ask_without_pause, name="benchmark-traffic")
        other.start()
        settled = 0
        n_evictions = self.runtime.statistics().n_evictions
        try:
            for i in range(n_changes):
                self._change(i)
                if i + 1 == min(SETTLED_AFTER, n_changes // 2):
                    settled = _resident_bytes()
        finally:
            self._is_over.set()
            other.join()
        ended, facts = _resident_bytes(), self.runtime.statistics()
        self.runtime.close()
        for fault in self.faults[:5]:
            print(f"Wrong: {fault}")
        return [Figure(name="wrong answers", value=len(self.faults), unit="rows", n_runs=self.n_answers, at_most=0,
                       note=f"of {self.n_answers:,} held against PEFT"),
                Figure(name="resident memory at the end over that after the first changes", value=ended / settled,
                       unit="x", at_most=1 + MOST_GROWTH, note=f"{settled / 1e6:.1f} MB, then {ended / 1e6:.1f} MB"),
                Figure(name="changes", value=n_changes, unit="changes"),
                Figure(name="loads", value=facts.n_loads, unit="loads"),
                Figure(name="evictions", value=facts.n_evictions - n_evictions, unit="evictions")]

    def _change(self, i: int) -> None:
        name = self.published.names[int(self._random.integers(len(self.published.names)))]
        reference = f"{name}@{ALIAS}"
        if i % 3 == 0:
            self.published.replace(name, int(self._random.integers(N_VERSIONS)))
            self._ask([name], live=True)
        elif i % 3 == 1:
            try:
                self.runtime.unload(reference)
            except PredictionError as error:
                self._record([f"unload {reference}: {error}"], 0)
            self.runtime.load(reference)
        else:
            chosen = self._random.permutation(len(self.published.names))[:4]
            self._ask([self.published.names[k] for k in chosen], live=True)

    def _ask_without_pause(self) -> None:
        random = np.random.default_rng(7)
        while not self._is_over.is_set():
            chosen = random.integers(0, len(self.published.names), 3)
            self._ask([self.published.names[k] for k in chosen], live=False)

    def _ask(self, names: Sequence[str], *, live: bool) -> None:
        """Ask a row of each name; with `live` nobody moves aliases meanwhile, and the digest must be the newest."""
        texts = [self.published.texts[(self.n_answers + k) % N_TEXTS] for k in range(len(names))]
        answers = self.runtime.answer([(f"{name}@{ALIAS}", text) for name, text in zip(names, texts, strict=True)])
        faults = [fault for answer, text in zip(answers, texts, strict=True)
                  if (fault := self.published.fault_of(answer, text))]
        if live:
            faults += [f"{name}@{ALIAS} gave {answer.version}, which it no longer means"
                       for name, answer in zip(names, answers, strict=True)
                       if isinstance(answer, Answer) and answer.digest != self.published.live[name]]
        self._record(faults, len(answers))

    def _record(self, faults: list[str], n_answers: int) -> None:
        with self._lock:
            self.faults += faults
            self.n_answers += n_answers


def _stock_logits(base: Base, folder: Path, texts: Sequence[str]) -> torch.Tensor:
    """Return PEFT's logits for each text, [N, L], with this adapter alone in the model."""
    encoded = encode_texts(base.tokenizer, texts, None, base.max_length)
    inputs = collate([sequence for sequence, _ in encoded], pad_id=0)
    return PeftPeer(base, RECIPE, torch.float32, ("only", folder)).active_logits(inputs)


def _resident_bytes() -> int:
    """Return the resident memory, the C library's store of freed memory given back where it can be."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    return int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    run("churn", measure)
