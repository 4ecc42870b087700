"""A server that is killed in the middle of its work: what it acknowledged is there when the next one starts."""

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from server_process import Process

from adapterhub.feedback.reading import Chosen, feedback_of
from adapterhub.feedback.store import FeedbackStore
from adapterhub.registry import Registry

ROW = {"adapter": "t/intents3", "text": "my card"}
N_CLIENTS, N_ACKNOWLEDGED = 4, 100


@pytest.fixture
def place(tiny_adapters: dict[str, Path], tmp_path: Path) -> Path:
    Registry(tmp_path / "registry").publish(tiny_adapters["intents3"], "t/intents3")
    return tmp_path


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for process in started:
        process.stop()


def test_no_acknowledged_feedback_is_lost(place: Path, tiny_base_folder: Path, processes: list[Process]) -> None:
    acknowledged: dict[str, float] = {}
    enough = threading.Event()

    def judge(url: str, number: int) -> None:
        with httpx2.Client(base_url=url, timeout=30) as client:
            for i in range(100_000):
                rating = round((number + i) % 100 / 100, 2)
                try:
                    answer = client.post("/v1/predict", json={"rows": [ROW]}).json()["answers"][0]
                    reply = client.post("/v1/feedback", json={"id": answer["id"], "rating": rating})
                except (httpx2.HTTPError, ValueError):
                    return  # it was killed
                assert reply.status_code == 200, reply.text
                acknowledged[answer["id"]] = rating
                if len(acknowledged) >= N_ACKNOWLEDGED:
                    enough.set()
    processes.append(Process(place, tiny_base_folder))
    url = processes[0].url
    clients = [threading.Thread(target=judge, args=(url, number)) for number in range(N_CLIENTS)]
    for client in clients:
        client.start()
    assert enough.wait(120)
    processes[0].process.send_signal(signal.SIGKILL)  # while all of them ask
    for client in clients:
        client.join(60)
    before = ratings(place)
    processes.append(Process(place, tiny_base_folder))
    with httpx2.Client(base_url=processes[1].url, timeout=30) as client:
        last = list(acknowledged)[-1]
        again: dict[str, Any] = client.post("/v1/feedback", json={"id": last, "rating": acknowledged[last]}).json()
    assert acknowledged.items() <= before.items()
    assert len(before) - len(acknowledged) <= N_CLIENTS  # written, and killed before it could say so
    assert again["is_new"] is False


def ratings(place: Path) -> dict[str, float | None]:
    store = FeedbackStore(str(place / "feedback.sqlite3"), creates=False)
    with store.reading() as connection:
        found = {line.answer.id: line.feedback.rating for line in feedback_of(connection, Chosen())}
    store.close()
    return found
