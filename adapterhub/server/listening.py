"""Where a server may listen, found out before anything heavy is loaded."""

import os
import socket
from collections.abc import Mapping

from adapterhub.errors import InvalidConfig
from adapterhub.server.config import ServerConfig
from adapterhub.server.tokens import Tokens


def require_tokens(config: ServerConfig, tokens: Tokens) -> None:
    """Raise InvalidConfig where the server would be open to the network without a token."""
    if not config.is_loopback and not tokens.list():
        raise InvalidConfig(f"Listening on {config.host} lets others in, and no token is kept.",
                            hint="Make one with `adapterhub token create`, or listen on 127.0.0.1.")


_FIRST_FD = 3
"""Source: systemd, sd_listen_fds(3)."""


def inherited(environment: Mapping[str, str] = os.environ) -> socket.socket | None:
    """Return the listening socket that a supervisor holds and passed on (LISTEN_FDS), None where none did.

    It outlives this process: what connects while one process ends and the next begins waits in it.
    """
    if environment.get("LISTEN_PID") != str(os.getpid()) or environment.get("LISTEN_FDS", "0") in ("", "0"):
        return None
    try:
        return socket.socket(fileno=_FIRST_FD)
    except OSError as error:
        raise InvalidConfig(f"The socket that was passed on cannot be used: {error.strerror or error}.",
                            hint="Start without LISTEN_FDS, or let the supervisor pass a listening socket.") from error


def address_of(listener: socket.socket) -> tuple[str, int]:
    """Return where a socket listens, as host and port; a socket of this machine's files counts as loopback."""
    name = listener.getsockname()
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else ("localhost", 0)


def bind(config: ServerConfig) -> socket.socket:
    """Take the port before anything is loaded. Raises InvalidConfig where it cannot be had."""
    listener: socket.socket | None = None
    try:
        family, _, _, _, address = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise InvalidConfig(f"Cannot listen on {config.host} port {config.port}: {error.strerror or error}.",
                            hint="Give another --host or --port; port 0 takes a free one.") from error
    return listener
