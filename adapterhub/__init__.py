"""adapterhub: one frozen base, many tasks. Train adapters, publish versions, answer with any mixture of them at once.

    from pathlib import Path
    from adapterhub import Registry, Runtime, TrainConfig, train

    folder = train(TrainConfig(task="text-classification", data="rows.csv", output=Path("intents")))
    registry = Registry("registry")
    version = registry.publish(folder, "support/intents")
    registry.promote(version.reference, "production")
    runtime = Runtime("embedded", registry)
    for answer in runtime.predict([("support/intents@production", "where is my card?")]):
        print(answer.version, answer.result["label"])

Names are looked up when they are first used, so that what needs no torch does not wait for it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adapterhub.errors import AdapterHubError
    from adapterhub.making import train
    from adapterhub.registry import AliasMove, Listing, Query, Registries, Registry, Version, open_registries
    from adapterhub.runtime.answer import Answer, Failure
    from adapterhub.runtime.engine import Runtime
    from adapterhub.runtime.generation.engine import Generator
    from adapterhub.runtime.generation.row import Generated, TokenPiece
    from adapterhub.runtime.generation.settings import GenerationSettings, GeneratorConfig
    from adapterhub.runtime.generation.stream import TokenStream
    from adapterhub.runtime.pending import PendingRows
    from adapterhub.settings import Settings
    from adapterhub.training.config import TrainConfig

__all__ = ["AdapterHubError", "AliasMove", "Answer", "Failure", "Generated", "GenerationSettings", "Generator",
           "GeneratorConfig", "Listing", "PendingRows", "Query", "Registries", "Registry", "Runtime", "Settings",
           "TokenPiece", "TokenStream", "TrainConfig", "Version", "open_registries", "train"]

_HOMES = {
    "AdapterHubError": "adapterhub.errors",
    "AliasMove": "adapterhub.registry",
    "Answer": "adapterhub.runtime.answer",
    "Failure": "adapterhub.runtime.answer",
    "Generated": "adapterhub.runtime.generation.row",
    "GenerationSettings": "adapterhub.runtime.generation.settings",
    "Generator": "adapterhub.runtime.generation.engine",
    "GeneratorConfig": "adapterhub.runtime.generation.settings",
    "Listing": "adapterhub.registry",
    "PendingRows": "adapterhub.runtime.pending",
    "Query": "adapterhub.registry",
    "Registries": "adapterhub.registry",
    "Registry": "adapterhub.registry",
    "Runtime": "adapterhub.runtime.engine",
    "Settings": "adapterhub.settings",
    "TokenPiece": "adapterhub.runtime.generation.row",
    "TokenStream": "adapterhub.runtime.generation.stream",
    "TrainConfig": "adapterhub.training.config",
    "Version": "adapterhub.registry",
    "open_registries": "adapterhub.registry",
    "train": "adapterhub.making",
}
"""Public name -> the module that holds it; the same names as under TYPE_CHECKING above."""


if not TYPE_CHECKING:  # a type checker that sees it would take any name for a public one

    def __getattr__(name: str) -> Any:
        """Import a public name's module on first use (PEP 562)."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
