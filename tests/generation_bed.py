"""For each family: a tiny base, adapters of several methods and ranks by PEFT, and what stock PEFT generates."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from language_models import Recipe, stock_lm, stock_tokens, write_language_model, write_lora

from adapterhub.bases.load import Base, load_base
from adapterhub.registry import Registry
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.generation.engine import Generator
from adapterhub.runtime.generation.settings import GeneratorConfig
from adapterhub.settings import Settings

ATTENTION = {"t5": ("q", "v"), "gpt2": ("c_attn",)}


@dataclass
class Bed:
    """One family's base with its registry."""

    base: Base
    registry: Registry
    settings: Settings
    adapters: dict[str, Path]
    """Reference -> folder."""
    models: dict[str | None, Any] = field(default_factory=dict)

    def generator(self, *, cache_bytes: int = 1 << 20, max_rows: int = 64, **runtime: Any) -> Generator:
        config = GeneratorConfig(runtime=RuntimeConfig(**{"dtype": "float32", "is_packed": False, **runtime}),
                                 cache_bytes=cache_bytes, max_rows=max_rows)
        return Generator(self.base, self.registry, config=config, settings=self.settings)

    def tokens(self, text: str) -> list[int]:
        return list(self.base.tokenizer(text).input_ids)

    def stock(self, reference: str | None, text: str, n_new: int, **options: Any) -> list[int]:
        """What transformers generates with the PEFT model for this row alone."""
        if reference not in self.models:
            self.models[reference] = stock_lm(self.base.source.folder, self.adapters.get(reference or ""))
        return stock_tokens(self.models[reference], self.tokens(text), n_new, **options)


def make_bed(place: Path, family: str) -> Bed:
    """Write and publish one family's base and adapters."""
    settings = Settings(registry=str(place / "registry"), cache=place / "cache", data=None, shipped_registry=None)
    base = load_base(str(write_language_model(place / "base", family)), cache=settings.cache)
    recipes = {"t/two": Recipe(rank=2, seed=1), "t/eight": Recipe(rank=8, seed=2),
               "t/dora": Recipe(rank=4, seed=3, use_dora=True),
               "t/attention": Recipe(rank=4, seed=4, targets=ATTENTION.get(family, ("q_proj", "v_proj")))}
    bed = Bed(base, Registry(place / "registry"), settings, {})
    for reference, recipe in recipes.items():
        bed.adapters[reference] = write_lora(place / reference.replace("/", "-"), base, recipe)
        bed.registry.publish(bed.adapters[reference], reference)
    return bed
