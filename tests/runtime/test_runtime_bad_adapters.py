"""Adapters that cannot be had when their turn comes: their rows fail by name, all other rows are answered."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from adapterhub.adapter.peft_config import WEIGHTS_FILE
from adapterhub.errors import AdapterHubError, InvalidFolder, NoRoom, RankTooLarge
from adapterhub.runtime.answer import Answer, Failure
from adapterhub.runtime.engine import Runtime

Change = Callable[[Path], None]
RuntimeOf = Callable[..., Runtime]


def flip(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS_FILE).read_bytes())
    data[-3] ^= 1
    (folder / WEIGHTS_FILE).write_bytes(data)


def cut_short(folder: Path) -> None:
    data = (folder / WEIGHTS_FILE).read_bytes()
    (folder / WEIGHTS_FILE).write_bytes(data[:len(data) // 2])


def remove_weights(folder: Path) -> None:
    (folder / WEIGHTS_FILE).unlink()


def error_of(answer: Answer | Failure) -> AdapterHubError:
    assert isinstance(answer, Failure), answer
    return answer.error


@pytest.mark.parametrize("change", [flip, cut_short, remove_weights, shutil.rmtree])
@pytest.mark.parametrize("is_published", [True, False])
def test_adapter_that_changes_while_its_rows_wait_fails_them_alone(change: Change, is_published: bool,
                                                                   runtime_of: RuntimeOf, tmp_path: Path,
                                                                   tiny_adapters: dict[str, Path],
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = runtime_of()
    monkeypatch.setattr(runtime._cache, "fetch_ahead", lambda version: None)  # else it may have been read in time
    folder = tmp_path / "registry/t/intents5/versions/1"
    if not is_published:
        folder = Path(shutil.copytree(tiny_adapters["intents5"], tmp_path / "folder"))
    reference = "t/intents5" if is_published else str(folder)
    pending = runtime.submit([("t/intents3", "my card"), (reference, "my card"), (None, "my card")])
    change(folder)
    first, failure, last = pending.answers()
    error = error_of(failure)
    assert failure.reference == reference
    assert isinstance(error, AdapterHubError)
    assert reference.rpartition("/")[2] in str(error) or str(folder) in str(error)
    assert isinstance(first, Answer)
    assert isinstance(last, Answer)
    assert runtime.statistics().n_resident == 1


def test_adapter_that_was_damaged_is_answered_again_once_it_is_whole(runtime_of: RuntimeOf, tmp_path: Path,
                                                                     tiny_adapters: dict[str, Path]) -> None:
    runtime = runtime_of()
    folder = tmp_path / "registry/t/intents5/versions/1"
    flip(folder)
    assert isinstance(error_of(runtime.answer([("t/intents5", "my card")])[0]), InvalidFolder)
    shutil.copy(tiny_adapters["intents5"] / WEIGHTS_FILE, folder / WEIGHTS_FILE)
    assert isinstance(runtime.answer([("t/intents5", "my card")])[0], Answer)


def test_adapter_larger_than_the_whole_budget_fails_alone_with_the_bytes_it_needs(runtime_of: RuntimeOf) -> None:
    small = runtime_of()
    small.load("t/query-only")
    budget = small.statistics().slots_bytes
    runtime = runtime_of(slots_bytes=budget)
    good, failure = runtime.answer([("t/query-only", "my card"), ("t/intents3", "my card")])
    assert isinstance(good, Answer)
    error = error_of(failure)
    assert isinstance(error, RankTooLarge)
    assert f"the slots have {budget:,}" in str(error)
    assert "slots_bytes of at least" in error.hint


def test_budget_below_every_adapter_still_answers_bare_rows(runtime_of: RuntimeOf) -> None:
    runtime = runtime_of(slots_bytes=1)
    failure, bare = runtime.answer([("t/query-only", "my card"), (None, "my card")])
    assert isinstance(error_of(failure), RankTooLarge)
    assert isinstance(bare, Answer)


def test_row_whose_room_is_pinned_away_fails_alone_and_is_answered_once_there_is_room(runtime_of: RuntimeOf) -> None:
    runtime = runtime_of(max_slots=1)
    runtime.pin("t/intents5")
    pinned, failure = runtime.answer([("t/intents5", "my card"), ("t/intents3", "my card")])
    assert isinstance(pinned, Answer)
    assert isinstance(error_of(failure), NoRoom)
    runtime.unpin("t/intents5")
    assert isinstance(runtime.answer([("t/intents3", "my card")])[0], Answer)
