"""Any history of loads, replacements, evictions, pins, cancels and mixed batches: each row is what stock PEFT says.

Hypothesis draws the history; a model of what each name means now says which folder a row must be answered by; stock
transformers and PEFT, with that folder alone and that text alone, say what the answer must be.
"""

import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from history_world import KINDS, TEXTS, World
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from adapterhub.adapter.folder import read_folder
from adapterhub.errors import AdapterHubError, AdapterNotFound, Cancelled, DataError, PredictionError, VersionYanked
from adapterhub.registry import Registry
from adapterhub.runtime.answer import Answer, Failure
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.engine import Runtime
from adapterhub.runtime.pending import PendingRows
from adapterhub.tasks.table import find_task

FLOAT32 = 1e-5
"""Sums in another order, relative to the largest output of the row."""
BFLOAT16_ROUNDINGS = 4.0
"""The runtime rounds to 8 bits as often as the stock base in bfloat16 does, elsewhere: two errors of one size, which
may add, and whose largest over all rows is about twice that of one row."""
NAMES = ("t/a", "t/b", "t/c")


@dataclass(slots=True)
class Asked:
    """One row, and what must come of it."""

    reference: str | None
    text: str
    kind: str | None = None
    error: type[AdapterHubError] | None = None


@dataclass(slots=True)
class Name:
    """What one name of the registry holds."""

    versions: list[str] = field(default_factory=list)
    """Kind of each version, from 1."""
    yanked: set[int] = field(default_factory=set)
    alias: int | None = None


class History(RuleBasedStateMachine):
    """The runtime beside a model of what each reference means."""

    world: ClassVar[World]
    dtype: ClassVar[str] = "float32"

    @initialize(max_slots=st.sampled_from([1, 2, 3, 6]), slots_bytes=st.sampled_from([150_000, 1 << 20]),
                host_bytes=st.sampled_from([0, 40_000, 1 << 20]), tokens=st.sampled_from([24, 16384]))
    def begin(self, max_slots: int, slots_bytes: int, host_bytes: int, tokens: int) -> None:
        self.place = Path(tempfile.mkdtemp())
        self.registry = Registry(self.place / "registry")
        config = RuntimeConfig(dtype=self.dtype, max_slots=max_slots, slots_bytes=slots_bytes, host_bytes=host_bytes,
                               tokens_per_pass=tokens, device="cpu")
        self.runtime = Runtime(self.world.base, self.registry, settings=self.world.settings, config=config)
        self.max_slots = max_slots
        self.names = {name: Name() for name in NAMES}
        self.pins: Counter[str] = Counter()
        self.pending: list[tuple[PendingRows, list[Asked]]] = []
        self.folder: str | None = None
        self.outputs: defaultdict[tuple[str, tuple[int, ...]], list[torch.Tensor]] = defaultdict(list)
        self._record_outputs()

    @rule(name=st.sampled_from(NAMES), kind=st.sampled_from([*KINDS]))
    def publish(self, name: str, kind: str) -> None:
        """A new version, which @latest means at once; bytes that are the latest's already make none."""
        if self.registry.publish(self.world.folders[kind], name).is_new:
            self.names[name].versions.append(kind)

    @precondition(lambda self: any(name.versions for name in self.names.values()))
    @rule(data=st.data())
    def promote(self, data: st.DataObject) -> None:
        name, number = self._version(data)
        if number not in self.names[name].yanked:
            self.registry.promote(f"{name}@{number}", "live")
            self.names[name].alias = number

    @precondition(lambda self: any(name.versions for name in self.names.values()))
    @rule(data=st.data())
    def yank(self, data: st.DataObject) -> None:
        name, number = self._version(data)
        self.registry.yank(f"{name}@{number}", "a test")
        self.names[name].yanked.add(number)

    @rule(kind=st.sampled_from([*KINDS]))
    def replace_folder(self, kind: str) -> None:
        """Other bytes under the same path."""
        folder = self.place / "folder"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.world.folders[kind], folder)
        self.folder = kind

    @rule()
    def delete_folder(self) -> None:
        shutil.rmtree(self.place / "folder", ignore_errors=True)
        self.folder = None

    @rule(data=st.data(), act=st.sampled_from(["load", "pin", "unpin", "unload"]))
    def move(self, data: st.DataObject, act: str) -> None:
        """Load ahead, pin, unpin or unload what a reference means."""
        asked = self._ask(data)
        if asked.reference is None:
            return
        digest = self.world.digests[asked.kind] if asked.kind else ""
        expects = self._expected_error(asked, act, digest)
        try:
            getattr(self.runtime, act)(asked.reference)
        except AdapterHubError as error:
            assert expects and isinstance(error, expects), f"{act} {asked}: {error}"
            return
        assert expects is None or issubclass(expects, PredictionError), f"{act} {asked} was accepted"
        if act == "pin":
            self.pins[digest] += 1
        if act == "unpin":
            self.pins[digest] = max(0, self.pins[digest] - 1)

    @rule(data=st.data(), n_rows=st.integers(1, 12))
    def predict(self, data: st.DataObject, n_rows: int) -> None:
        rows = [self._ask(data) for _ in range(n_rows)]
        self._check(rows, self.runtime.answer([(row.reference, row.text) for row in rows]))

    @rule(data=st.data(), n_rows=st.integers(1, 5))
    def submit(self, data: st.DataObject, n_rows: int) -> None:
        rows = [self._ask(data) for _ in range(n_rows)]
        if any(row.reference and row.reference.startswith("/") for row in rows):
            return  # a folder may change before its turn; test_runtime_bad_input has that
        self.pending.append((self.runtime.submit([(row.reference, row.text) for row in rows]), rows))

    @precondition(lambda self: self.pending)
    @rule()
    def wait(self) -> None:
        pending, rows = self.pending.pop(0)
        self._check(rows, pending.answers())

    @precondition(lambda self: self.pending)
    @rule()
    def cancel(self) -> None:
        """Rows that another caller's pass took along are answered; all others are cancelled."""
        pending, rows = self.pending.pop()
        was_done = pending.is_done
        n_cancelled = pending.cancel()
        assert (n_cancelled == 0) == (was_done or all(row.error for row in rows))
        if not was_done:
            for row in rows:
                row.error = row.error or Cancelled
        self._check(rows, pending.answers())

    @invariant()
    def keeps_its_budgets(self) -> None:
        if hasattr(self, "runtime"):
            facts = self.runtime.statistics()
            assert facts.n_resident <= max(self.max_slots, sum(count > 0 for count in self.pins.values()))
            assert facts.host_bytes <= self.runtime.config.host_bytes

    def teardown(self) -> None:
        if hasattr(self, "runtime"):
            for pending, rows in self.pending:
                self._check(rows, pending.answers())
            self.runtime.close()
            shutil.rmtree(self.place)

    def _version(self, data: st.DataObject) -> tuple[str, int]:
        name = data.draw(st.sampled_from([name for name, facts in self.names.items() if facts.versions]))
        return name, data.draw(st.integers(1, len(self.names[name].versions)))

    def _ask(self, data: st.DataObject) -> Asked:
        """Draw a row, and say what it must be answered by, or which error it must get."""
        text = data.draw(st.sampled_from([*TEXTS, TEXTS[0], ""]))
        which = data.draw(st.sampled_from(["latest", "live", "number", "digest", "folder", "bare", "unknown"]))
        name = data.draw(st.sampled_from(NAMES))
        facts = self.names[name]
        if which == "bare":
            asked = Asked(None, text)
        elif which == "folder":
            asked = Asked(str(self.place / "folder"), text, self.folder, None if self.folder else DataError)
        elif which == "unknown" or not facts.versions:
            asked = Asked(f"{name}x", text, error=AdapterNotFound)
        else:
            asked = self._ask_registry(data, which, name, text)
        if not text and asked.error is None:
            asked.error = PredictionError
        return asked

    def _ask_registry(self, data: st.DataObject, which: str, name: str, text: str) -> Asked:
        facts = self.names[name]
        if which == "latest":
            good = [i for i in range(1, len(facts.versions) + 1) if i not in facts.yanked]
            return Asked(name, text, facts.versions[good[-1] - 1] if good else None, None if good else AdapterNotFound)
        if which == "live" and facts.alias is None:
            return Asked(f"{name}@live", text, error=AdapterNotFound)
        number = facts.alias if which == "live" else data.draw(st.integers(1, len(facts.versions)))
        assert number is not None, "the case without an alias returned above"
        kind = facts.versions[number - 1]
        if which == "digest":
            return Asked(f"{name}@sha256:{self.world.digests[kind]}", text, kind)
        reference = f"{name}@live" if which == "live" else f"{name}@{number}"
        return Asked(reference, text, kind, VersionYanked if number in facts.yanked else None)

    def _expected_error(self, asked: Asked, act: str, digest: str) -> type[AdapterHubError] | None:
        """Return what load, pin, unpin or unload of this reference must, or may, raise."""
        if asked.error and asked.error is not PredictionError:
            return None if act in ("unpin", "unload") and asked.error is VersionYanked else asked.error
        if act == "unload":
            return PredictionError if self.pins[digest] else None
        return PredictionError if act in ("load", "pin") else None  # every slot may be pinned

    def _check(self, rows: list[Asked], answers: list[Answer | Failure]) -> None:
        for row, answer in zip(rows, answers, strict=True):
            assert answer.reference == row.reference
            if isinstance(answer, Failure):
                assert self._may_fail(row, answer.error), f"{row}: {answer.error!r}"
                continue
            assert row.error is None, f"{row} was answered"
            self._check_answer(row, answer)

    def _may_fail(self, row: Asked, error: AdapterHubError) -> bool:
        if row.error:
            return isinstance(error, row.error)
        n_pinned = sum(count > 0 for count in self.pins.values())
        return type(error).__name__ == "NoRoom" and n_pinned > 0

    def _check_answer(self, row: Asked, answer: Answer) -> None:
        """Hold the tensors against stock PEFT, and the answer against those tensors."""
        digest = self.world.digests[row.kind] if row.kind else None
        assert answer.digest == digest
        task = find_task(KINDS[row.kind].task if row.kind else "sentence-similarity")
        example = task.encode([task.parse_row(row.text)], self.world.base.tokenizer, [],
                              self.world.base.max_length)[0]
        computed = self.outputs[digest or "", tuple(example.sequences[0].input_ids)]
        expected = self.world.expected(row.kind, row.text)
        allowed = FLOAT32 * max(1.0, float(expected.abs().max()))
        if self.dtype == "bfloat16":
            allowed = BFLOAT16_ROUNDINGS * self.world.spread(row.kind)
        for found in computed:
            assert found.shape == expected.shape
            assert float((found - expected).abs().max()) <= allowed, f"{row}: {found} is not {expected}"
        labels = read_folder(self.world.folders[row.kind]).manifest.labels if row.kind else []
        assert answer.result in [task.decode([found], example, labels) for found in computed]

    def _record_outputs(self) -> None:
        """Keep the tensors that answers were decoded from, by digest and tokens: each pass may round on its own way."""
        shared = self.runtime._shared
        compute: Callable[..., list[list[torch.Tensor]]] = shared.compute

        def recorded(placed: Any) -> list[list[torch.Tensor]]:
            outputs = compute(placed)
            for (adapter, example), tensors in zip(placed, outputs, strict=True):
                self.outputs[adapter.digest, tuple(example.sequences[0].input_ids)].append(tensors[0])
            return outputs
        shared.compute = recorded  # type: ignore[method-assign]


@pytest.mark.parametrize(("dtype", "n_histories"), [("float32", 40), ("bfloat16", 12)])
def test_any_history_gives_what_stock_peft_gives(dtype: str, n_histories: int, world: World) -> None:
    machine = type("History", (History,), {"world": world, "dtype": dtype})
    run_state_machine_as_test(machine, settings=settings(  # type: ignore[no-untyped-call]
        max_examples=n_histories, stateful_step_count=25, deadline=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]))
