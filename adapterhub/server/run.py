"""A server process from its options to its end: bind, load, serve, drain."""

import logging
import signal
import socket
import time
from dataclasses import replace
from types import FrameType

import uvicorn

from adapterhub.errors import InvalidConfig
from adapterhub.registry import ReadableRegistry
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.server.app import create_app
from adapterhub.server.config import ServerConfig
from adapterhub.server.house import House, build_house
from adapterhub.server.logs import log, log_to_stderr
from adapterhub.server.tokens import Tokens
from adapterhub.settings import Settings

_KEEP_ALIVE_S = 15
_BACKLOG = 4096


class DrainingServer(uvicorn.Server):
    """uvicorn's server; told to stop, it answers new requests with 503 until the running ones are answered."""

    def __init__(self, config: uvicorn.Config, house: House) -> None:
        super().__init__(config)
        self._house = house
        self._ends_at = float("inf")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; a second signal ends at once."""
        if self._house.door.is_draining:
            self.should_exit = self.force_exit = True
            return
        log("draining", signal=signal.Signals(sig).name, in_flight=self._house.door.n_in_flight)
        self._house.door.is_draining = True
        self._ends_at = time.monotonic() + self._house.config.drain_s

    async def on_tick(self, counter: int) -> bool:
        """End once nothing runs any more, or the time for it is over."""
        if self._house.door.is_draining and (not self._house.door.n_in_flight or time.monotonic() > self._ends_at):
            self.should_exit = True
        return await super().on_tick(counter)


def serve(base: str, registry: ReadableRegistry, tokens: Tokens, *, config: ServerConfig,
          runtime_config: RuntimeConfig | None = None, settings: Settings | None = None) -> None:
    """Serve until told to stop. Raises InvalidConfig where it may not listen there, BaseNotFound."""
    require_tokens(config, tokens)
    log_to_stderr()
    listener = bind(config)
    started = time.monotonic()
    try:
        house = build_house(base, registry, tokens, config=replace(config, port=listener.getsockname()[1]),
                            runtime_config=runtime_config, settings=settings)
    except BaseException:
        listener.close()
        raise
    server = DrainingServer(uvicorn_config(house), house)
    scheme = "https" if config.certificate else "http"
    host = f"[{config.host}]" if ":" in config.host else config.host
    log("serving", url=f"{scheme}://{host}:{listener.getsockname()[1]}", base=house.base_id,
        registry=registry.where, needs_tokens=house.door.needs_tokens,
        seconds_to_load=round(time.monotonic() - started, 2))
    server.run(sockets=[listener])
    log("ended", level=logging.INFO)


def require_tokens(config: ServerConfig, tokens: Tokens) -> None:
    """Raise InvalidConfig where the server would be open to the network without a token."""
    if not config.is_loopback and not tokens.list():
        raise InvalidConfig(f"Listening on {config.host} lets others in, and no token is kept.",
                            hint="Make one with `adapterhub token create`, or listen on 127.0.0.1.")


def bind(config: ServerConfig) -> socket.socket:
    """Take the port before anything is loaded. Raises InvalidConfig where it cannot be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise InvalidConfig(f"Cannot listen on {config.host} port {config.port}: {error.strerror or error}.",
                            hint="Give another --host or --port; port 0 takes a free one.") from error
    return listener


def uvicorn_config(house: House) -> uvicorn.Config:
    """Return how uvicorn serves the application."""
    config = house.config
    return uvicorn.Config(create_app(house), log_config=None, access_log=False, server_header=False,
                          proxy_headers=False, timeout_keep_alive=_KEEP_ALIVE_S, backlog=_BACKLOG, ws="none",
                          timeout_graceful_shutdown=max(1, round(config.drain_s)), lifespan="on",
                          ssl_certfile=config.certificate, ssl_keyfile=config.key)
