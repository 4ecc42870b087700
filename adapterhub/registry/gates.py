"""Gates: what a version must show on pinned rows before an alias may point to it.

The rows lie in the registry beside the gate, named by their digest, so that everybody measures on the same ones.
It measures nothing itself: an `Evaluate` comes from above, where the runtime is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from adapterhub.adapter.directions import LOWER_IS_BETTER
from adapterhub.adapter.folder import AdapterFolder
from adapterhub.errors import DataError, InvalidConfig, InvalidFolder, PromotionRefused, UnknownName
from adapterhub.files import sha256_of_bytes, storage_errors
from adapterhub.registry import layout, series
from adapterhub.registry.aliases import AliasMove, Mark
from adapterhub.registry.records import GateRecord
from adapterhub.registry.stores import Store

MAX_ROWS_BYTES = 64 << 20
"""A gate is asked at each promotion; larger sets belong to an evaluation, not to a gate."""


class Evaluate(Protocol):
    """What measures an adapter on a file of rows."""

    def __call__(self, folder: AdapterFolder, rows: bytes, file: str) -> Mapping[str, float]:
        """Return each metric on the rows; `file` is the name of a file, whose end says of which kind it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a gate asks; at least one of the three."""

    metric: str
    minimum: float | None = None
    maximum: float | None = None
    """Of a metric that is better when it is lower; it has no minimum, as the others have no maximum."""
    max_drop: float | None = None
    """How far below the incumbent the candidate may be; of errors, how far above."""

    def __post_init__(self) -> None:
        if self.minimum is None and self.maximum is None and self.max_drop is None:
            raise InvalidConfig("The gate asks nothing.", hint="Give --min (of errors --max), --max-drop or both.")
        is_error = self.metric in LOWER_IS_BETTER
        if is_error and self.minimum is not None:
            raise InvalidConfig(f"{self.metric} is better when it is lower, so a least figure says nothing.",
                                hint=f"Give --max {self.minimum:g}.")
        if not is_error and self.maximum is not None:
            raise InvalidConfig(f"{self.metric} is better when it is higher, so a largest figure says nothing.",
                                hint=f"Give --min {self.maximum:g}.")
        if self.max_drop is not None and not self.max_drop >= 0:
            raise InvalidConfig(f"max_drop is {self.max_drop}, expected 0 or more.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a gate found."""

    figures: dict[str, float]
    """`candidate` and, where there is one, `incumbent`."""
    refusals: tuple[str, ...]
    """Empty where the candidate may pass."""


def set_gate(store: Store, path: str, alias: str, limits: Limits, data: Path, mark: Mark) -> GateRecord:
    """Put a gate before an alias and its rows beside it. Raises DataError, PromotionRefused where overtaken."""
    rows = _read_rows(data)
    file = f"{sha256_of_bytes(rows)}{''.join(data.suffixes[-2:]).lower()}"
    store.create(layout.rows_key(path, alias, file), rows)
    record = GateRecord(metric=limits.metric, minimum=limits.minimum, maximum=limits.maximum,
                        max_drop=limits.max_drop, rows=file, at=mark.at, by=mark.by)
    return _append(store, path, alias, record)


def open_gate(store: Store, path: str, alias: str, mark: Mark) -> GateRecord:
    """Take the gate before an alias away. Raises PromotionRefused where there is none."""
    gate = find_gate(store, path, alias)
    if gate is None:
        raise PromotionRefused(f"{path}@{alias} has no gate.", hint=f"See `adapterhub gate show {path}`.")
    return _append(store, path, alias, GateRecord(metric=gate.metric, minimum=None, max_drop=None, rows=gate.rows,
                                                  is_open=True, at=mark.at, by=mark.by))


def find_gate(store: Store, path: str, alias: str) -> GateRecord | None:
    """Return the gate before an alias, None where there is none or it was taken away."""
    gate = series.newest(store, GateRecord, layout.gate_key(path, alias))[1]
    return None if gate is None or gate.is_open else gate


def gates(store: Store, path: str) -> dict[str, GateRecord]:
    """Return the gates of `namespace/name` by alias."""
    found = {alias: find_gate(store, path, alias) for alias in store.folders(f"{path}/gates")}
    return {alias: gate for alias, gate in found.items() if gate}


def judge(store: Store, gate: GateRecord, holding: AliasMove | None, candidate: AdapterFolder,
          incumbent: AdapterFolder | None, evaluate: Evaluate, *, path: str, alias: str) -> Judgement:
    """Measure candidate and incumbent on the pinned rows and hold them against the gate.

    Raises InvalidFolder where the rows changed; UnknownName for a metric that the task does not have.
    """
    rows = store.get(layout.rows_key(path, alias, gate.rows))
    if rows is None or sha256_of_bytes(rows) != gate.rows.partition(".")[0]:
        raise InvalidFolder(f"the gate of {path}@{alias}", ["its rows are missing or changed"],
                            hint="Set the gate again with the rows that are meant.")
    figures = {"candidate": _figure(evaluate(candidate, rows, gate.rows), gate.metric)}
    if incumbent is not None and holding is not None:
        figures["incumbent"] = _figure(evaluate(incumbent, rows, gate.rows), gate.metric)
    return Judgement(figures=figures, refusals=tuple(_refusals(gate, figures)))


def _refusals(gate: GateRecord, figures: Mapping[str, float]) -> list[str]:
    candidate, incumbent = figures["candidate"], figures.get("incumbent")
    refusals = []
    # written as "not at least", so that NaN is refused as well
    if gate.minimum is not None and not candidate >= gate.minimum:
        refusals.append(f"{gate.metric} is {candidate:.4f}, the gate asks at least {gate.minimum:g}")
    if gate.maximum is not None and not candidate <= gate.maximum:
        refusals.append(f"{gate.metric} is {candidate:.4f}, the gate asks at most {gate.maximum:g}")
    if gate.max_drop is not None and incumbent is not None:
        is_error = gate.metric in LOWER_IS_BETTER
        if not (candidate <= incumbent + gate.max_drop if is_error else candidate >= incumbent - gate.max_drop):
            refusals.append(f"{gate.metric} is {candidate:.4f}, {abs(incumbent - candidate):.4f} "
                            f"{'above' if is_error else 'below'} the incumbent's {incumbent:.4f}; "
                            f"the gate allows {gate.max_drop:g}")
    return refusals


def _figure(metrics: Mapping[str, float], name: str) -> float:
    if name not in metrics:
        raise UnknownName("metric of this task", name, metrics)
    return float(metrics[name])


def _append(store: Store, path: str, alias: str, record: GateRecord) -> GateRecord:
    folder = layout.gate_key(path, alias)
    if not series.append(store, folder, series.newest(store, GateRecord, folder)[0] + 1, record):
        raise PromotionRefused(f"The gate of {path}@{alias} was changed meanwhile.",
                               hint=f"See `adapterhub gate show {path}`, then try again.")
    return record


def _read_rows(data: Path) -> bytes:
    if not data.is_file():
        raise DataError(f"No such file of rows: {data}.", hint="Give one file, for instance eval.jsonl.")
    with storage_errors(data):
        rows = data.read_bytes()
    if not 0 < len(rows) <= MAX_ROWS_BYTES:
        raise DataError(f"{data} has {len(rows):,} bytes, a gate takes 1 to {MAX_ROWS_BYTES:,}.",
                        hint="Take a sample that decides.")
    return rows
