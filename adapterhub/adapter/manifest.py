"""The manifest `adapterhub.json`: everything that is known about one adapter, as frozen records.

It reads and writes; whether the folder agrees with it is check.py's work.
"""

import json
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, FailFast, TypeAdapter, ValidationError

from adapterhub.errors import InvalidFolder
from adapterhub.files import canonical_json

FORMAT = 2
"""The newest that is read: 2 where an adapter was combined of others, else 1, which every adapterhub reads."""
MANIFEST_FILE = "adapterhub.json"
_STRICT = ConfigDict(extra="forbid")
_MAX_FAULTS = 100
Item = TypeVar("Item")
ListOf = Annotated[list[Item], FailFast()]
"""Told by its first fault: one error for each of a million items would take gigabytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodFacts:
    """How the adapter changes the base."""

    __pydantic_config__ = _STRICT

    name: str
    """PEFT's method name in lower case: `lora`."""
    rank: int
    target_modules: ListOf[str]
    n_parameters: int
    """Tensors' elements in the file: adapter and head."""
    dtype: str
    """Of the stored tensors: `float16`, `float32`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseFacts:
    """Which base the adapter belongs to."""

    __pydantic_config__ = _STRICT

    id: str
    """What the trainer was given: `embedded`, a Hub id; for a local folder only its last name."""
    revision: str | None
    fingerprint: str
    """SHA-256 over weights, tokenizer and the shape of the config, 64 hex digits."""
    tokenizer_digest: str
    model_type: str
    """The architecture's name in transformers: `bert`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadFacts:
    """How the task reads the base's hidden states."""

    __pydantic_config__ = _STRICT

    modules: ListOf[str]
    """Modules saved whole beside the delta, in PEFT's `modules_to_save`; empty for embeddings."""
    max_length: int
    """Tokens after which a text was cut in training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """The rows the adapter was trained on."""

    __pydantic_config__ = _STRICT

    name: str
    digest: str
    """SHA-256 over the rows of all splits."""
    n_rows: dict[str, int]
    """Rows per split."""
    licence: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One measured figure."""

    __pydantic_config__ = _STRICT

    name: str
    split: str
    value: float
    n_rows: int
    interval: tuple[float, float] | None = None
    """Where it lies with 95 % confidence, by resampling these rows; None where that was not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFacts:
    """How the adapter was made."""

    __pydantic_config__ = _STRICT

    seed: int
    hyperparameters: dict[str, str | int | float | bool | None]
    versions: dict[str, str]
    """Of the libraries that decide the result."""
    seconds: float
    peak_memory_bytes: int
    """Resident set of the process at its highest; bytes allocated on a GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CombinationFacts:
    """What was done to the parents of an adapter that was not trained but made of others."""

    __pydantic_config__ = _STRICT

    action: str
    """`merge` or `convert`."""
    method: str
    """PEFT's combination type (`cat`, `svd`); for a conversion the method that it was (`loha`)."""
    weights: ListOf[float]
    """One for each parent, in the order of the parents."""
    head_from: str | None
    """The parent whose head it has; None where heads were averaged, or where there is none."""
    relative_error: float
    """Frobenius norm of what its change differs by from the parents' weighted sum, by that of the sum; all layers."""
    layer_errors: dict[str, float]
    """The same for each layer, by the base's name of it."""
    output_difference: float | None
    """Largest difference of a probe's output to the parent's, by the largest output; None for a merge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """One file of the folder."""

    __pydantic_config__ = _STRICT

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRow:
    """One fixed token sequence and what the adapter gave for it in float32 on the trainer's machine."""

    __pydantic_config__ = _STRICT

    input_ids: ListOf[int]
    outputs: ListOf[float]
    """Logits [labels], [T * labels] row by row, or the embedding [I]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The whole of `adapterhub.json`."""

    __pydantic_config__ = _STRICT

    format: int = 1
    task: str
    labels: ListOf[str]
    """In the order of the head's outputs; empty where the task has none."""
    method: MethodFacts
    base: BaseFacts
    head: HeadFacts
    data: DataFacts
    metrics: ListOf[Metric]
    training: TrainingFacts
    parents: ListOf[str] = field(default_factory=list)
    """What it was continued from or made of: `namespace/name@sha256:...`, or `sha256:...` of a folder."""
    combination: CombinationFacts | None = None
    """How it was made of its parents, where it was; such a manifest has format 2."""
    probe: ListOf[ProbeRow]
    files: dict[str, FileFacts]
    """Every other file of the folder."""

    def to_bytes(self) -> bytes:
        """Return the manifest as canonical JSON; its SHA-256 is the version's digest."""
        value = _ADAPTER.dump_python(self, mode="json")
        if self.combination is None:  # left out, so that the bytes are those that an older adapterhub reads
            del value["combination"]
        for metric in value["metrics"]:
            if metric["interval"] is None:
                del metric["interval"]
        return canonical_json(value)

    def metric(self, name: str, split: str = "test") -> float | None:
        """Return one metric's value, None where it was not measured."""
        return next((m.value for m in self.metrics if (m.name, m.split) == (name, split)), None)


_ADAPTER: TypeAdapter[Manifest] = TypeAdapter(Manifest)


def parse_manifest(data: bytes, folder: str) -> Manifest:
    """Parse a manifest's bytes. Raises InvalidFolder with every field at fault."""
    try:
        value = json.loads(data)
        _require_known_format(value, folder)
        manifest = _ADAPTER.validate_python(value)  # validate_json copies the whole for each field missing
    except ValidationError as error:
        raise InvalidFolder(folder, _faults(error)) from error
    except (ValueError, RecursionError) as error:
        raise InvalidFolder(folder, [f"{MANIFEST_FILE} is not readable JSON ({str(error)[:200]})"]) from error
    return manifest


def _require_known_format(value: Any, folder: str) -> None:
    """Refuse a newer format before its fields are, which this adapterhub does not know."""
    found = value.get("format") if isinstance(value, dict) else None
    if isinstance(found, int) and found > FORMAT:
        raise InvalidFolder(folder, [f"{MANIFEST_FILE} has format {found}, this adapterhub reads {FORMAT}"],
                            hint="Update adapterhub.")


def _faults(error: ValidationError) -> list[str]:
    if error.error_count() > _MAX_FAULTS:
        return [f"{MANIFEST_FILE} has {error.error_count():,} faults"]
    return [_fault(fault) for fault in error.errors(include_url=False, include_context=False, include_input=False)]


def _fault(fault: Any) -> str:
    place = ".".join(str(part) for part in fault["loc"]) or "the file"
    return f"{MANIFEST_FILE}: {place}: {fault['msg'].lower()}"
