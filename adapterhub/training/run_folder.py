"""A run's own folder beside its output: what it was asked for, its log, and its checkpoints until it is finished."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from adapterhub.errors import DataError, InvalidConfig, StorageError
from adapterhub.files import canonical_json, read_json, storage_errors, write_atomic
from adapterhub.training.ranks import process_state

RUN_SUFFIX = ".run"
Start = Literal["new", "resume", "finish"]
"""How a run begins: anew, from the newest checkpoint, or by taking what that one has."""
START: dict[str | None, Start] = {None: "new", "resume": "resume", "finish": "finish"}
"""What the command line's options say."""
_NO_MATTER = frozenset({"output", "trackers", "checkpoint_seconds", "licence", "source", "name"})
"""Settings that a resumed run may change: none of them moves a weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What decides a run's weights."""

    config: Mapping[str, Any]
    """The settings as plain values, as they were given."""
    data: str
    """Digest of the rows in their parts."""
    base: str
    """Fingerprint."""


class RunFolder:
    """`OUTPUT.run`: `run.json`, `log.jsonl`, and `checkpoints/` until the adapter folder is written."""

    def __init__(self, output: Path) -> None:
        self.path = output.with_name(output.name + RUN_SUFFIX)
        self.log = self.path / "log.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self._facts = self.path / "run.json"
        self._lock = FileLock(self.path / ".lock")

    def open(self, start: Start, facts: RunFacts) -> None:
        """Begin anew, or take a stopped run up. Raises DataError, InvalidConfig or StorageError; see both."""
        state = process_state()
        if state.is_main_process:
            if start == "new":
                self._begin(facts)
            else:
                self._take_up(facts)
        state.wait_for_everyone()

    def _begin(self, facts: RunFacts) -> None:
        """Make the folder for a new run. Raises DataError where it holds a stopped one, StorageError as files do."""
        if self.is_stopped:
            raise DataError(f"{self.path} holds a run that was stopped.",
                            hint="Go on with --resume, or remove that folder to start anew.")
        with storage_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self.hold()
            self.log.unlink(missing_ok=True)
        write_atomic(self._facts, canonical_json({"config": facts.config, "data": facts.data, "base": facts.base}))

    def _take_up(self, facts: RunFacts) -> None:
        """Require that the stopped run was asked for the same. Raises InvalidConfig with what differs."""
        before = self.read()
        self.hold()
        differences = [f"{name} was {before.config.get(name)!r}, now {facts.config.get(name)!r}"
                       for name in sorted({*before.config, *facts.config} - _NO_MATTER)
                       if before.config.get(name) != facts.config.get(name)]
        differences += ["the rows are others"] * (before.data != facts.data)
        differences += ["the base is another"] * (before.base != facts.base)
        if differences:
            raise InvalidConfig(f"The stopped run in {self.path} was asked for something else: "
                                f"{'; '.join(differences)}.",
                                hint="Resume with the same settings and rows, or remove that folder to start anew.")

    def read(self) -> RunFacts:
        """Return what the stopped run was asked for. Raises DataError where there is none."""
        if not self.is_stopped:
            raise DataError(f"There is no stopped run to resume at {self.path}.",
                            hint="Leave out --resume to start one.")
        try:
            return RunFacts(**read_json(self._facts))
        except TypeError as error:
            raise DataError(f"{self._facts} does not say what the run was asked for.",
                            hint="Remove its folder to start anew.") from error

    @property
    def is_stopped(self) -> bool:
        """Whether there is something to go on from."""
        return self.checkpoints.is_dir() and any(self.checkpoints.iterdir())

    def finish(self) -> None:
        """Drop the checkpoints: the adapter folder is written. The log stays."""
        if not process_state().is_main_process:
            return
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        self._let_go()

    def leave(self) -> None:
        """Leave a run that did not finish: what it has stays, and nothing where it has no checkpoint."""
        if not process_state().is_main_process or not self._lock.is_locked:
            return
        self._let_go()
        if not self.is_stopped:
            shutil.rmtree(self.path, ignore_errors=True)

    def hold(self) -> None:
        """Keep other trainings out. Raises StorageError where one is in."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise StorageError(f"Another training is writing to {self.path}.",
                               hint="Name another --output, or wait for it.") from error

    def _let_go(self) -> None:
        self._lock.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)
