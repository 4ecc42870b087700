"""The stream counts who answered, and every failure."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from adapterhub.demo import stream
from adapterhub.demo.figures import Phase
from adapterhub.demo.stream import RequestStream, StreamLog
from adapterhub.errors import PredictionError
from adapterhub.runtime.engine import Runtime


class Answering:
    """Stands in for a runtime: answers by its version, or fails."""

    def __init__(self) -> None:
        self.version = "a/b@1"
        self.error: Exception | None = None

    def predict(self, rows: Any) -> Any:
        if self.error:
            raise self.error
        return [SimpleNamespace(version=self.version) for _ in rows]


def stream_of(answering: Answering) -> RequestStream:
    return RequestStream(cast("Runtime", answering), "a/b@production", ["x", "y"])


def test_phases_number_the_requests_of_each_version() -> None:
    log = StreamLog(versions=["a@1", "a@1", "a@2", "a@2", "a@2", "a@1"])
    assert log.phases() == [Phase(version="a@1", first=1, last=2), Phase(version="a@2", first=3, last=5),
                            Phase(version="a@1", first=6, last=6)]
    assert StreamLog().phases() == []


def test_stream_sees_a_version_move() -> None:
    answering = Answering()
    with stream_of(answering) as running:
        running.wait_for(5)
        answering.version = "a/b@2"
        running.wait_for(5)
    assert [phase.version for phase in running.log.phases()] == ["a/b@1", "a/b@2"]
    assert running.log.failures == []


@pytest.mark.parametrize("error", [PredictionError("no"), RuntimeError("no")])
def test_every_failure_is_counted_and_ends_the_wait(error: Exception) -> None:
    answering = Answering()
    answering.error = error
    with stream_of(answering) as running:
        running.wait_for(5)
    assert set(running.log.failures) == {f"{type(error).__name__}: no"}


def test_requests_that_do_not_come_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "PATIENCE_S", 0.01)
    running = stream_of(Answering())  # never started
    with pytest.raises(PredictionError, match="5 requests were not answered"):
        running.wait_for(5)
