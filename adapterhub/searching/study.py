"""The study of a search: Optuna's trials in one SQLite file, taken up again where the same is asked."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from adapterhub.errors import InvalidConfig, StorageError
from adapterhub.files import storage_errors
from adapterhub.searching.space import Choice, Space, has_setting
from adapterhub.training.config import TrainConfig

STUDY_FILE, NAME = "study.db", "search"
PRUNERS = ("median", "hyperband", "none")
_ASKED = "asked"
_STARTUP_TRIALS = 4
"""Trials that end before the median says anything of others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialFacts:
    """One trial, as people and JSON see it."""

    number: int
    """From 1."""
    state: str
    """`running`, `complete`, `pruned` or `failed`."""
    value: float | None
    """The metric at its best epoch; of a pruned one at its last."""
    params: dict[str, Any]
    best_epoch: int | None = None
    seconds: float | None = None
    fault: str = ""
    values: dict[int, float] = field(default_factory=dict)
    """Epoch -> the metric after it."""


@contextmanager
def open_study(folder: Path, asked: Mapping[str, Any], *, is_lower_better: bool,
               pruner: optuna.pruners.BasePruner) -> Iterator[optuna.Study]:
    """Yield the study in a folder, made where there is none; trials that a dead process left open are failed.

    Raises InvalidConfig with what differs where it was begun for something else, StorageError where it cannot be
    read or another search is in it.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with _held(folder), _database_errors(folder):
        storage = optuna.storages.RDBStorage(f"sqlite:///{folder.absolute() / STUDY_FILE}")
        study = optuna.create_study(study_name=NAME, storage=storage, load_if_exists=True, pruner=pruner,
                                    direction="minimize" if is_lower_better else "maximize")
        before = study.user_attrs.get(_ASKED)
        if before is None:
            study.set_user_attr(_ASKED, json.loads(json.dumps(asked)))
        else:
            _require_same(before, json.loads(json.dumps(asked)), folder)
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            study.tell(trial.number, state=TrialState.FAIL)
        try:
            yield study
        finally:
            storage.remove_session()
            storage.engine.dispose()


def make_pruner(name: str, n_epochs: int) -> optuna.pruners.BasePruner:
    """Return what stops trials that fall behind, by the metric after each epoch."""
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS, n_warmup_steps=1)
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=n_epochs)
    assert name == "none", "the command line knows the names"
    return optuna.pruners.NopPruner()


def suggest(trial: optuna.Trial, space: Space, config: TrainConfig) -> dict[str, Any]:
    """Draw a trial's settings; those that the drawn method does not have are left out."""
    params: dict[str, Any] = {}
    for name, own in sorted(space.dimensions.items(), key=lambda pair: pair[0] != "method"):  # the method first
        if not has_setting(params.get("method", config.method), name):
            continue
        if isinstance(own, Choice):
            params[name] = trial.suggest_categorical(name, own.values)
        elif own.is_whole:
            params[name] = trial.suggest_int(name, int(own.low), int(own.high), log=own.is_log)
        else:
            params[name] = trial.suggest_float(name, own.low, own.high, log=own.is_log)
    return params


def facts_of(study: optuna.Study) -> list[TrialFacts]:
    """Return all trials, oldest first."""
    return [_facts(trial) for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]


def _facts(trial: FrozenTrial) -> TrialFacts:
    attributes = trial.user_attrs
    value = trial.value if trial.value is not None else None
    return TrialFacts(number=trial.number + 1, state="failed" if trial.state == TrialState.FAIL
                      else trial.state.name.lower(), value=value, params=dict(trial.params),
                      best_epoch=attributes.get("best_epoch"), seconds=attributes.get("seconds"),
                      fault=str(attributes.get("fault", "")), values=dict(trial.intermediate_values))


def _require_same(before: Mapping[str, Any], asked: Mapping[str, Any], folder: Path) -> None:
    """Raise InvalidConfig where the study was begun with other rows, another base or other settings."""
    differences = []
    for name in sorted({*before, *asked}):
        old, new = before.get(name), asked.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            differences += [f"{name} {key} was {old.get(key)!r}, now {new.get(key)!r}"
                            for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
        elif old != new:
            differences.append(f"the {name} is another")
    if differences:
        raise InvalidConfig(f"The study in {folder} was begun for something else: {'; '.join(differences)[:600]}.",
                            hint="Ask for the same, or name another --output.")


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StorageError(f"Another search is writing to {folder}.", hint="Name another --output, or wait for it.") \
            from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _database_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise StorageError(f"The study in {folder} cannot be used: {reason[:200]}.",
                           hint="Remove the folder to begin anew, or name another --output.") from error
