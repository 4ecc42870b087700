"""The space of settings that a search goes through: parsed from `--space` and TOML, checked once. It knows no study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from adapterhub.errors import AdapterHubError, InvalidConfig, UnknownName
from adapterhub.training.config import TrainConfig
from adapterhub.training.method_table import find_method

KINDS: dict[str, type[float] | type[int] | type[str]] = {
    "learning_rate": float, "rank": int, "batch_size": int, "targets": str, "method": str, "alpha": float,
    "head_learning_rate": float, "dropout": float, "weight_decay": float, "warmup": float, "schedule": str}
"""Settings that can be searched, with the type of their values."""
_NEEDS_PART = {"rank": "rank", "alpha": "alpha_field", "dropout": "dropout_field"}
"""Setting -> the part of a method without which it has no such setting."""
_OWN_RATES = "loraplus"
"""The method that gives the head a rate itself."""
DEFAULT = ("learning_rate=1e-4:1e-2:log", "rank=4|8|16|32", "batch_size=16|32|64")
"""What is searched where nothing is said; targets and methods depend on the base and on what is to be paid."""
_HINT = "Write name=low:high, name=low:high:log or name=a|b|c, for instance learning_rate=1e-4:1e-2:log."


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Numbers between two ends, both included."""

    low: float
    high: float
    is_log: bool = False
    """Drawn evenly in the logarithm."""
    is_whole: bool = False

    def holds(self, value: object) -> bool:
        """Say whether a value lies in it."""
        return isinstance(value, (int, float)) and self.low <= value <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Values of which one is taken."""

    values: tuple[str | int | float, ...]

    def holds(self, value: object) -> bool:
        """Say whether a value is one of them."""
        return value in self.values


Dimension = Range | Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Setting -> what it may be."""

    dimensions: Mapping[str, Dimension]

    def as_plain(self) -> dict[str, Any]:
        """Return it as plain values, equal where the space is."""
        return {name: list(own.values) if isinstance(own, Choice) else
                {"low": own.low, "high": own.high, "log": own.is_log} for name, own in self.dimensions.items()}

    def require_fit(self, config: TrainConfig) -> None:
        """Raise InvalidConfig where a run could not have a value at an end, or a choice, or would give no adapter."""
        methods = self.dimensions.get("method", Choice(values=(config.method,)))
        if methods.holds("full"):
            raise InvalidConfig("Method 'full' fine-tunes a whole model, which is no adapter.",
                                hint="Search among other methods.")
        for name, own in self.dimensions.items():
            for value in own.values if isinstance(own, Choice) else (own.low, own.high):
                try:
                    with_params(config, {name: int(value) if isinstance(own, Range) and own.is_whole else value})
                except AdapterHubError as error:
                    raise InvalidConfig(f"The space has {name} {value}: {error.message}", hint=error.hint) from error


def has_setting(method: str, name: str) -> bool:
    """Say whether a method has a setting: IA3 for one has no rank."""
    if name == "head_learning_rate":
        return method != _OWN_RATES
    return name not in _NEEDS_PART or getattr(find_method(method), _NEEDS_PART[name]) is not None


def with_params(config: TrainConfig, params: Mapping[str, Any]) -> TrainConfig:
    """Return a trial's settings; those of the run that its method does not have are left out. Raises as TrainConfig."""
    method = params.get("method", config.method)
    return replace(config, **{**{name: None for name in (*_NEEDS_PART, "head_learning_rate")
                               if not has_setting(method, name)}, **params})


def parse_space(options: Sequence[str], table: Mapping[str, Any]) -> Space:
    """Parse `--space` options and TOML's table; an option wins over the table, the default stands where both are empty.

    In the table a setting is a list of choices, or {low = 1e-4, high = 1e-2, log = true}.
    Raises InvalidConfig and UnknownName with what was written.
    """
    parsed = {name: _from_table(name, value) for name, value in table.items()}
    parsed |= dict(_from_option(text) for text in options)
    return Space(dimensions=parsed or dict(_from_option(text) for text in DEFAULT))


def _from_option(text: str) -> tuple[str, Dimension]:
    name, sign, values = text.partition("=")
    kind = _kind_of(name.strip())
    if not sign or not values.strip():
        raise InvalidConfig(f"--space {text!r} says no values.", hint=_HINT)
    if kind is not str and ":" in values:
        ends = values.split(":")
        if len(ends) > 3 or (len(ends) == 3 and ends[2] != "log"):
            raise InvalidConfig(f"--space {text!r} is no range.", hint=_HINT)
        return name.strip(), _range(name.strip(), _number(name, ends[0], kind), _number(name, ends[1], kind),
                                    is_log=len(ends) == 3)
    parts = [part.strip() for part in values.split("|")]
    return name.strip(), _choice(name.strip(), [part if kind is str else _number(name, part, kind) for part in parts])


def _from_table(name: str, value: object) -> Dimension:
    kind = _kind_of(name)
    if isinstance(value, list) and all(isinstance(item, (str, int, float)) for item in value):
        return _choice(name, [str(item) if kind is str else _number(name, str(item), kind) for item in value])
    if isinstance(value, dict) and kind is not str and {"low", "high"} <= value.keys() <= {"low", "high", "log"}:
        return _range(name, _number(name, str(value["low"]), kind), _number(name, str(value["high"]), kind),
                      is_log=bool(value.get("log", False)))
    raise InvalidConfig(f"space.{name} is {str(value)[:80]}, which is neither a list of choices nor a range.",
                        hint=f"Write {name} = [4, 8] or {name} = {{low = 1e-4, high = 1e-2, log = true}}.")


def _kind_of(name: str) -> type[float] | type[int] | type[str]:
    if name not in KINDS:
        raise UnknownName("setting to search", name, KINDS)
    return KINDS[name]


def _number(name: str, text: str, kind: type[float] | type[int] | type[str]) -> float:
    try:
        return int(text) if kind is int else float(text)
    except ValueError as error:
        what = "a whole number" if kind is int else "a number"
        raise InvalidConfig(f"The space of {name} has {text.strip()!r}, expected {what}.", hint=_HINT) from error


def _range(name: str, low: float, high: float, *, is_log: bool) -> Range:
    if not low < high:
        raise InvalidConfig(f"The space of {name} goes from {low:g} to {high:g}.", hint="Give the lower end first.")
    if is_log and low <= 0:
        raise InvalidConfig(f"The space of {name} begins at {low:g}, which has no logarithm.",
                            hint="Give a lower end above 0, or leave out log.")
    return Range(low=low, high=high, is_log=is_log, is_whole=KINDS[name] is int)


def _choice(name: str, values: Sequence[str | int | float]) -> Choice:
    if not values or "" in values:
        raise InvalidConfig(f"The space of {name} has an empty choice.", hint=_HINT)
    if len(set(values)) < len(values):
        raise InvalidConfig(f"The space of {name} has a choice twice: {', '.join(map(str, values))}.",
                            hint="Give each once.")
    return Choice(values=tuple(values))
