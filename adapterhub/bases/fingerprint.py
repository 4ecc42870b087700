"""Who a base is: one SHA-256 over its weights, its tokenizer and the shape of its config; taken once, then cached."""

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from adapterhub.bases.embedded import EMBEDDED, require_upstream_weights
from adapterhub.bases.resolve import BaseSource
from adapterhub.errors import AdapterHubError, BaseNotFound
from adapterhub.files import canonical_json, read_json, sha256_of_bytes, sha256_of_file, storage_errors, write_atomic

_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "spiece.model", "tokenizer.model",
                    "sentencepiece.bpe.model")
# What may differ between two copies of one base without changing what it computes.
_CONFIG_NOISE = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype", "use_cache",
                 "id2label", "label2id", "gradient_checkpointing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """A base's identity and its parts, each 64 hex digits."""

    fingerprint: str
    weights: str
    tokenizer: str
    config: str


def fingerprint_base(source: BaseSource, cache: Path) -> Fingerprint:
    """Return a base's fingerprint, from `cache` where its files have not changed (path, size, time).

    Raises BaseNotFound where weights, tokenizer or config are missing, or where the embedded base is not upstream's;
    StorageError where they cannot be read.
    """
    with storage_errors(source.folder):
        return _known_or_taken(source, cache)


def _known_or_taken(source: BaseSource, cache: Path) -> Fingerprint:
    weights = _weights_files(source.folder)
    tokenizer = [source.folder / name for name in _TOKENIZER_FILES if (source.folder / name).is_file()]
    if not tokenizer:
        raise BaseNotFound(f"{source.folder} holds no tokenizer.", hint="Save the tokenizer beside the model.")
    if not (source.folder / "config.json").is_file():
        raise BaseNotFound(f"{source.id} holds no config.json, so it is no transformers model.",
                           hint="Give a folder that `save_pretrained` wrote, or another Hub id.")
    # Taken under another name, the embedded base was not held against upstream's weights: its entries stand apart.
    state = _state_of([*weights, *tokenizer, source.folder / "config.json"])
    entry = cache / "fingerprints" / f"{state}{'.embedded' if source.id == EMBEDDED else ''}.json"
    if entry.is_file() and (known := _read_entry(entry)):
        return known
    fingerprint = _take(source, weights, tokenizer)
    with contextlib.suppress(AdapterHubError):  # a cache that cannot be written costs time, not correctness
        write_atomic(entry, canonical_json(asdict(fingerprint)))
    return fingerprint


def _take(source: BaseSource, weights: list[Path], tokenizer: list[Path]) -> Fingerprint:
    digests = {path.name: sha256_of_file(path) for path in weights}
    if source.id == EMBEDDED:
        require_upstream_weights(digests.get("model.safetensors", "none"))
    parts = {
        "weights": sha256_of_bytes(canonical_json(digests)),
        "tokenizer": sha256_of_bytes(canonical_json({path.name: sha256_of_file(path) for path in tokenizer})),
        "config": sha256_of_bytes(canonical_json(_config_shape(source.folder / "config.json"))),
    }
    return Fingerprint(fingerprint=sha256_of_bytes(canonical_json(parts)), **parts)


def _weights_files(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise BaseNotFound(f"{folder} holds no .safetensors weights.",
                           hint="Convert them once with `save_pretrained` of transformers.")
    return files


def _config_shape(path: Path) -> dict[str, object]:
    config = read_json(path)
    return {key: value for key, value in config.items() if key not in _CONFIG_NOISE}


def _state_of(files: list[Path]) -> str:
    states = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return sha256_of_bytes(json.dumps(states).encode())


def _read_entry(entry: Path) -> Fingerprint | None:
    try:
        return Fingerprint(**read_json(entry))
    except (AdapterHubError, TypeError):
        return None  # a torn cache entry is taken anew
