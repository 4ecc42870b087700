"""Where a server may listen, found out before anything heavy is loaded."""

import socket

from adapterhub.errors import InvalidConfig
from adapterhub.server.config import ServerConfig
from adapterhub.server.tokens import Tokens


def require_tokens(config: ServerConfig, tokens: Tokens) -> None:
    """Raise InvalidConfig where the server would be open to the network without a token."""
    if not config.is_loopback and not tokens.list():
        raise InvalidConfig(f"Listening on {config.host} lets others in, and no token is kept.",
                            hint="Make one with `adapterhub token create`, or listen on 127.0.0.1.")


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
