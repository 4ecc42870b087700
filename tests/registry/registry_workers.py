"""What runs in other processes in the registry's tests: publishers that die before each step, a bucket after a fork."""

import os
import signal
from multiprocessing import get_context
from pathlib import Path

from adapterhub.errors import StorageError
from adapterhub.registry import Registry


def count_steps(place: str, folder: str, path: str) -> int:
    """Publish in a child that is never killed and return how many steps on the storage it took."""
    reader, writer = os.pipe()
    if _forked():
        os.write(writer, str(_publish_killed_at(place, folder, path, None)).encode())
        os._exit(0)
    os.wait()
    return int(os.read(reader, 100))


def publish_killed(place: str, folder: str, path: str, step: int) -> int:
    """Publish in a child that is killed right before a step; return the child's wait status."""
    if _forked():
        _publish_killed_at(place, folder, path, step)
        os._exit(0)
    return os.wait()[1]


def used_after_fork(place: str) -> int:
    """Use a bucket, fork, use it again in the child; return 1 where the child was refused, 0 where it was not."""
    registry = Registry(place)
    registry.list()
    if _forked():
        try:
            registry.list()
        except StorageError:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.wait()[1])


def in_clean_process(function: object, calls: list[tuple[object, ...]]) -> list[int]:
    """Run calls one after another in one fresh process, where forking is safe."""
    with get_context("spawn").Pool(1) as pool:
        return pool.starmap(function, calls)  # type: ignore[arg-type]  # any picklable function


def _forked() -> bool:
    return os.fork() == 0


def _publish_killed_at(place: str, folder: str, path: str, step: int | None) -> int:
    done = 0

    def counted(function):  # type: ignore[no-untyped-def]  # takes any of obstore's functions
        def run(*arguments, **options):  # type: ignore[no-untyped-def]
            nonlocal done
            if done == step:
                os.kill(os.getpid(), signal.SIGKILL)
            done += 1
            return function(*arguments, **options)
        return run

    os.open, os.write, os.link, os.fsync = counted(os.open), counted(os.write), counted(os.link), counted(os.fsync)
    Path.unlink = counted(Path.unlink)  # type: ignore[method-assign]  # only in this doomed process
    Registry(place).publish(folder, path)
    return done
