"""Many processes at once, and processes that die, forked from a parent that has everything imported already.

The parent is a fresh process (see `clean_process` in test_registry_fire.py), where forking is safe.
"""

import json
import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any

from adapterhub.registry import Registry
from adapterhub.registry.copying import copy_adapter
from adapterhub.registry.stores import open_store

Call = tuple[str, ...]


def publish(place: str, folder: str, path: str) -> int:
    """Publish and return the number that it became."""
    return Registry(place).publish(folder, path).version


def promote(place: str, reference: str, alias: str) -> int:
    """Promote and return the number of the move."""
    return Registry(place).promote(reference, alias).number


def copy(place: str, target: str, path: str) -> int:
    """Copy an adapter with all it has and return how many objects are there."""
    return len(list(copy_adapter(open_store(place), open_store(target), path)))


def pull(place: str, reference: str, folder: str) -> int:
    """Pull and return how many files came."""
    return len(Registry(place).pull(reference, folder).files)


ACTS: dict[str, Callable[..., int]] = {"publish": publish, "promote": promote, "copy": copy, "pull": pull}


def at_once(act: str, calls: list[Call], environment: dict[str, str]) -> list[Any]:
    """Do one thing in as many processes as there are calls, all started by one signal; a failure is its sentence."""
    os.environ.update(environment)  # of the test, which may have found its server after this process began
    gate, opened = os.pipe()
    answers = [_waiting(act, call, gate, opened) for call in calls]
    os.close(opened)  # every child reads the end of the file now
    os.close(gate)
    found = []
    for answer in answers:
        with os.fdopen(answer, "rb") as file:
            found.append(json.loads(file.read() or b'"it died"'))
    for _ in calls:
        os.wait()
    return found


def killed(act: str, calls: list[Call], seed: int) -> int:
    """Do one call after another, each killed at a random instant; return how many did not live to their end.

    The instants spread as far as the work takes just now: further after a child that died, less far after one that
    had done its work.
    """
    chance, most_s, n_killed = random.Random(seed), 0.05, 0
    for call in calls:
        if (child := os.fork()) == 0:
            ACTS[act](*call)
            os._exit(0)
        time.sleep(chance.uniform(0, most_s))
        os.kill(child, signal.SIGKILL)
        is_dead = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
        n_killed, most_s = n_killed + is_dead, most_s * (1.15 if is_dead else 0.8)
    return n_killed


def _waiting(act: str, call: Call, gate: int, opened: int) -> int:
    """Start a child that does its call when the gate opens; return where its answer can be read."""
    answer, answered = os.pipe()
    if os.fork() == 0:
        os.close(opened)
        os.read(gate, 1)
        try:
            found: Any = ACTS[act](*call)
        except Exception as error:  # the test compares what came instead of a number
            found = f"{type(error).__name__}: {error}"
        os.write(answered, json.dumps(found).encode())
        os._exit(0)
    os.close(answered)
    return answer
