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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_WAIT_S = 60


@dataclass
class Server:
    """One server that runs."""

    port: int
    user: str
    _n_databases: list[str] = field(default_factory=list)

    def new_database(self) -> str:
        """Make an empty database and return its URL."""
        import psycopg

        name = f"feedback_{len(self._n_databases)}"
        self._n_databases.append(name)
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
        process = subprocess.Popen([str(_program("postgres")), "-D", "data", "-h", "127.0.0.1", "-p", str(port), "-k",
                                    str(place), "-c", "fsync=off"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **given)
        try:
            _wait(port)
            yield Server(port, "keeper")
        finally:
            process.send_signal(signal.SIGQUIT)  # at once: its data goes as well
            process.wait(_WAIT_S)
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
