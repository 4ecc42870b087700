"""A server process from its bound socket to its end: load, serve, drain."""

import signal
import socket
import time
from dataclasses import replace
from types import FrameType

import uvicorn

from adapterhub.registry import ReadableRegistry
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.server.app import create_app
from adapterhub.server.config import ServerConfig
from adapterhub.server.house import House, build_house
from adapterhub.server.listening import address_of
from adapterhub.server.logs import log, log_to_stderr
from adapterhub.server.patience import allow_many_connections, protocol_with_patience
from adapterhub.server.tokens import Tokens
from adapterhub.server.tracing import Tracer
from adapterhub.settings import Settings

_KEEP_ALIVE_S = 15
_AFTER_DRAIN_S = 1
"""The drain is over when uvicorn begins to end: what still runs then is cut off."""
_BACKLOG = 4096
_HAND_OVER_S = 1.0
"""A process that hands its socket over stays at least so long: each kept connection that asks is told to close."""


class DrainingServer(uvicorn.Server):
    """uvicorn's server; told to stop, it answers new requests with 503 until the running ones are answered."""

    def __init__(self, config: uvicorn.Config, house: House) -> None:
        super().__init__(config)
        self._house = house
        self._stays_until = self._ends_at = float("inf")

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and then say so."""
        await super().startup(sockets)
        config = self._house.config
        host = f"[{config.host}]" if ":" in config.host else config.host
        log("serving", url=f"{'https' if config.certificate else 'http'}://{host}:{config.port}",
            base=self._house.base_id, needs_tokens=self._house.door.needs_tokens)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; a second signal ends at once."""
        if self._house.door.is_draining:
            self.should_exit = self.force_exit = True
            return
        log("draining", signal=signal.Signals(sig).name, in_flight=self._house.door.n_in_flight)
        self._house.door.is_draining = True
        if self._house.door.is_handing_over:
            for listening in self.servers:
                listening.close()  # who connects from now on meets the next process
        now = time.monotonic()
        self._stays_until = now + (_HAND_OVER_S if self._house.door.is_handing_over else 0.0)
        self._ends_at = max(now + self._house.config.drain_s, self._stays_until)

    async def on_tick(self, counter: int) -> bool:
        """End once nothing runs any more, or the time for it is over."""
        now, door = time.monotonic(), self._house.door
        if door.is_draining and (now > self._ends_at or (now >= self._stays_until and not door.n_in_flight)):
            self.should_exit = True
        return await super().on_tick(counter)


def serve(base: str, registry: ReadableRegistry, tokens: Tokens, listener: socket.socket, *, config: ServerConfig,
          is_inherited: bool = False, runtime_config: RuntimeConfig | None = None,
          settings: Settings | None = None, tracer: Tracer | None = None) -> None:
    """Serve on a bound socket until told to stop; one that is inherited is handed over at the end.

    Raises BaseNotFound, InvalidConfig.
    """
    log_to_stderr()
    allow_many_connections()
    house = build_house(base, registry, tokens, config=replace(config, port=address_of(listener)[1]),
                        runtime_config=runtime_config, settings=settings, tracer=tracer)
    house.door.is_handing_over = is_inherited
    DrainingServer(uvicorn_config(house), house).run(sockets=[listener])
    log("ended")


def uvicorn_config(house: House) -> uvicorn.Config:
    """Return how uvicorn serves the application."""
    config = house.config
    return uvicorn.Config(create_app(house), log_config=None, access_log=False, server_header=False,
                          proxy_headers=False, timeout_keep_alive=_KEEP_ALIVE_S, backlog=_BACKLOG, ws="none",
                          http=protocol_with_patience(config.limits.body_s),
                          timeout_graceful_shutdown=_AFTER_DRAIN_S, lifespan="on",
                          ssl_certfile=config.certificate, ssl_keyfile=config.key)
