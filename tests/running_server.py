"""A real server on loopback in a thread of the test's process, and a client that speaks plain HTTP to it."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import uvicorn

from adapterhub.bases.load import Base
from adapterhub.registry import Registry
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.server.config import ServerConfig
from adapterhub.server.house import House, build_house
from adapterhub.server.listening import bind
from adapterhub.server.run import DrainingServer, uvicorn_config
from adapterhub.server.tokens import Tokens
from adapterhub.server.tracing import Tracer
from adapterhub.settings import Settings

WAIT_S = 60
Rows = Sequence[dict[str, Any]]


@dataclass
class Running:
    """One server that runs, and what it was built of."""

    url: str
    house: House
    registry: Registry
    tokens: Tokens
    server: uvicorn.Server
    client: httpx2.Client

    def predict(self, *rows: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
        """Ask for rows and return the answers of a request that was read."""
        reply = self.post("/v1/predict", {"rows": list(rows), **fields})
        assert reply.status_code == 200, reply.text
        answers: list[dict[str, Any]] = reply.json()["answers"]
        return answers

    def post(self, path: str, body: Any, **headers: str) -> httpx2.Response:
        """Post JSON."""
        return self.client.post(path, json=body, headers=headers)

    def get(self, path: str, **headers: str) -> httpx2.Response:
        """Get."""
        return self.client.get(path, headers=headers)

    def metric(self, line: str) -> float:
        """Return the value of one line of /metrics, 0 where it is not there yet."""
        found = [text for text in self.get("/metrics").text.splitlines() if text.startswith(line + " ")]
        return float(found[0].rpartition(" ")[2]) if found else 0.0


@contextmanager
def running(base: str | Base, registry: Registry, place: Path, settings: Settings, *,
            config: ServerConfig | None = None, runtime_config: RuntimeConfig | None = None,
            is_usual: bool = False, tracer: Tracer | None = None) -> Iterator[Running]:
    """Serve a registry for a block, on a port of its own; in float32 unless it shall be as usual."""
    config = config or ServerConfig(port=0)
    tokens = Tokens(place / "tokens")
    house = build_house(base, registry, tokens, config=config, settings=settings, tracer=tracer,
                        runtime_config=None if is_usual else runtime_config or RuntimeConfig(dtype="float32"))
    listener = bind(config)
    server = DrainingServer(uvicorn_config(house), house)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        with httpx2.Client(base_url=url, timeout=WAIT_S) as client:
            wait_until(lambda: server.started)
            yield Running(url, house, registry, tokens, server, client)
    finally:
        server.should_exit = True
        thread.join(WAIT_S)
        assert not thread.is_alive()


def wait_until(is_so: Any, timeout_s: float = WAIT_S) -> None:
    """Wait until something is so."""
    ends_at = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < ends_at, "it did not come about"
        time.sleep(0.005)
