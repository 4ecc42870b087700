"""A real PostgreSQL server on loopback, for as long as a block runs, of what Debian's package `postgresql` installs."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_WAIT_S = 60


@dataclass
class Server:
    """One server, which runs unless it is stopped."""

    place: Path
    port: int
    given: dict[str, Any]
    """How its processes are started."""
    user: str = "keeper"
    _process: subprocess.Popen[bytes] | None = None
    _n_databases: int = 0

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen([str(_program("postgres")), "-D", "data", "-h", "127.0.0.1", "-p",
                                          str(self.port), "-k", str(self.place), "-c", "fsync=off"],
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self.given)
        _wait(self.port)

    def stop(self) -> None:
        """Break it off at once, as a crash does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(_WAIT_S)
            self._process = None

    def new_database(self) -> str:
        """Make an empty database and return its URL."""
        import psycopg

        name, self._n_databases = f"feedback_{self._n_databases}", self._n_databases + 1
        with psycopg.connect(f"host=127.0.0.1 port={self.port} user={self.user} dbname=postgres",
                             autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]  # a name of our own
        return f"postgresql://{self.user}@127.0.0.1:{self.port}/{name}"


def why_not() -> str | None:
    """Say why there can be no server here; None where there can."""
    if _program("initdb") is None or _program("postgres") is None:
        return "PostgreSQL is not installed here (Debian: apt-get install postgresql)"
    if os.getuid() == 0 and _lesser_user() is None:
        return "PostgreSQL refuses to run as root, and there is no user postgres"
    return None


@contextmanager
def running_server() -> Iterator[Server]:
    """Start a server with a new cluster; ended and removed with the block."""
    place = Path(tempfile.mkdtemp(prefix="postgresql-"))
    user = _lesser_user() if os.getuid() == 0 else None
    given: dict[str, Any] = {"cwd": place}
    if user is not None:
        os.chown(place, user.pw_uid, user.pw_gid)
        given |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    try:
        subprocess.run([str(_program("initdb")), "-D", "data", "-U", "keeper", "--auth=trust", "--no-sync",
                        "--locale=C", "--encoding=UTF8"], check=True, capture_output=True, **given)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        server = Server(place, port, given)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _wait(port: int) -> None:
    import psycopg

    ends_at = time.monotonic() + _WAIT_S
    while True:
        try:
            psycopg.connect(f"host=127.0.0.1 port={port} user=keeper dbname=postgres").close()
            return
        except psycopg.OperationalError:
            assert time.monotonic() < ends_at, "PostgreSQL did not start"
            time.sleep(0.05)


def _program(name: str) -> Path | None:
    found = shutil.which(name)
    if found:
        return Path(found)
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))  # where Debian puts it, beside the path
    return installed[-1] if installed else None


def _lesser_user() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return None
