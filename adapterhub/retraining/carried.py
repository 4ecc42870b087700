"""What a next version has of the published one's settings: what its manifest says of its run, as settings of a run."""

import json
from collections.abc import Mapping
from typing import Any, TypeGuard

from adapterhub.adapter.folder import AdapterFolder
from adapterhub.adapter.manifest import Manifest
from adapterhub.adapter.peft_config import CONFIG_FILE
from adapterhub.data.split import FRACTIONS
from adapterhub.errors import InvalidConfig
from adapterhub.registry import Registry
from adapterhub.training.method_table import METHODS

_KINDS = (("use_dora", "dora"), ("use_rslora", "rslora"))
"""Fields of PEFT's configuration that make LoRA another method."""
_AS_THEY_ARE = ("weight_decay", "warmup", "max_grad_norm", "schedule", "precision", "pack", "learn_prompts", "metric",
                "patience", "oversample", "remove_duplicates", "near_duplicates", "dropout", "remember_lower")
"""Settings that a next version has too. Rate, epochs and rows per step are not: they follow from the rows at hand."""
_OPTION = "method_options."
_MOST_ANCESTORS = 1000


def carried_settings(folder: AdapterFolder) -> dict[str, Any]:
    """Return settings, as plain values, with which tensors mean the same and rows are learned as they were."""
    manifest = folder.manifest
    known = manifest.training.hyperparameters
    settings: dict[str, Any] = {name: known[name] for name in _AS_THEY_ARE if known.get(name) is not None}
    settings |= _method(folder)
    if isinstance(weights := known.get("class_weights"), str):
        settings["class_weights"] = _parsed("class_weights", weights) if _is_json(weights) else weights
    return settings | {"fractions": list(fractions_of(manifest)), "targets": list(manifest.method.target_modules),
                       "max_length": manifest.head.max_length, "seed": manifest.training.seed,
                       "licence": manifest.data.licence, "source": manifest.data.source}


def fractions_of(manifest: Manifest) -> tuple[float, float, float]:
    """Return the shares by which the version's rows were divided; those by default where its manifest has none.

    Raises InvalidConfig where what it has are no shares.
    """
    given = manifest.training.hyperparameters.get("fractions")
    if not isinstance(given, str):
        return FRACTIONS
    shares = _parsed("fractions", given)
    if not isinstance(shares, list) or len(shares) != len(FRACTIONS) or not all(
            isinstance(share, int | float) and 0 <= share <= 1 for share in shares):
        raise _unreadable("fractions", given)
    return shares[0], shares[1], shares[2]


def label_names_of(manifest: Manifest, path: str, registry: Registry) -> dict[str, str]:
    """Return the other names that labels got before the first version of this adapter was trained.

    A retrained version's rows have them already, so they are looked for in the versions that it comes from. Raises
    InvalidConfig where what a manifest has are no names.
    """
    for _ in range(_MOST_ANCESTORS):
        names = manifest.training.hyperparameters.get("label_map")
        if isinstance(names, str):
            found = _parsed("label_map", names)
            if not isinstance(found, dict):
                raise _unreadable("label_map", names)
            return found
        if len(manifest.parents) != 1 or not registry.has(path):
            return {}
        digest = manifest.parents[0].rpartition("@")[2].removeprefix("sha256:")
        held = next((number for number in registry.numbers(path)
                     if registry.resolve(f"{path}@{number}").digest == digest), None)
        if held is None:
            return {}
        manifest = registry.read(f"{path}@{held}").manifest
    return {}


def _method(folder: AdapterFolder) -> dict[str, Any]:
    """Return the method with what belongs to it; where its tensors were made plain LoRA's, that is the method."""
    manifest, peft = folder.manifest, json.loads(folder.files[CONFIG_FILE])
    known = manifest.training.hyperparameters
    is_lora = peft["peft_type"] == "LORA"
    name = next((name for field, name in _KINDS if peft.get(field)), "lora") if is_lora else manifest.method.name
    ran = known.get("method")
    if isinstance(ran, str) and ran in METHODS and (not is_lora or ran in (name, "loraplus")):
        name = ran
    scale = {"rank": manifest.method.rank, "alpha": float(peft["lora_alpha"])} if is_lora else {}
    return {"method": name, **scale, "method_options": _options(known) if name == ran else {}}


def _options(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the method's options; what is no plain value stands there as JSON."""
    options: dict[str, Any] = {}
    for name, value in known.items():
        if name.startswith(_OPTION):
            options[name.removeprefix(_OPTION)] = _parsed(name, value) if _is_json(value) else value
    return options


def _is_json(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and value[:1] in ("[", "{")


def _parsed(name: str, text: str) -> Any:
    """Return what a manifest holds as JSON. Raises InvalidConfig where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unreadable(name, text) from error


def _unreadable(name: str, text: str) -> InvalidConfig:
    return InvalidConfig(f"The manifest says {name} is {text[:80]!r}, which no run of this version writes.",
                         hint="Train a new adapter on the rows instead of retraining this one.")
