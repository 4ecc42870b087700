"""The peers that benchmarks measure beside adapterhub: stock transformers, PEFT and PolyLoRA, each used as its own
documentation says, in the same type of numbers and on the same folders.
"""

import importlib.util
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from transformers import AutoModelForSequenceClassification

from adapterhub.bases.load import Base
from benchmarks.adapters_made import Recipe

Inputs = dict[str, torch.Tensor]
"""input_ids, token_type_ids, attention_mask, each [B, T]."""


class StockBase:
    """The bare base by transformers, without a head."""

    def __init__(self, base: Base, dtype: torch.dtype) -> None:
        self._model = base.load_trunk(dtype=dtype)

    def run(self, inputs: Inputs) -> torch.Tensor:
        """Return the last hidden states [B, T, I]."""
        with torch.inference_mode():
            hidden: torch.Tensor = self._model(**inputs).last_hidden_state
        return hidden


class PeftPeer:
    """PEFT: adapters in one model, `adapter_names` says which row is whose."""

    def __init__(self, base: Base, recipe: Recipe, dtype: torch.dtype, first: tuple[str, Path]) -> None:
        """Load the model with its first adapter, (name, folder)."""
        model = base.load_with_head(AutoModelForSequenceClassification, n_labels=recipe.n_labels).to(dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a property that transformers renamed
            self._model = PeftModel.from_pretrained(model, str(first[1]), adapter_name=first[0],
                                                    autocast_adapter_dtype=False).eval()

    def load(self, name: str, folder: Path) -> None:
        """Load one more adapter."""
        self._model.load_adapter(str(folder), adapter_name=name, autocast_adapter_dtype=False)

    def unload(self, name: str) -> None:
        """Take an adapter out again."""
        self._model.delete_adapter(name)

    def fill(self, names: Sequence[str]) -> None:
        """Have more adapters resident quickly, as empty ones: each layer is given them by PEFT's own `update_layer`.

        Their modules are those that `load_adapter` makes; only the walks over the model, which make that slow, are
        left out. Where loading is timed after it, the time is that with these adapters resident.
        """
        config = next(iter(self._model.peft_config.values()))
        layers = [module for module in self._model.modules() if isinstance(module, LoraLayer)]
        heads = [module for module in self._model.modules() if hasattr(module, "modules_to_save")
                 and isinstance(module.modules_to_save, torch.nn.ModuleDict)]
        for name in names:
            self._model.peft_config[name] = config
            for layer in layers:
                layer.update_layer(name, config.r, lora_alpha=config.lora_alpha, config=config)
            for head in heads:
                head.update(name)

    def parameter_names(self) -> set[str]:
        """Name everything that the model holds."""
        return {name for name, _ in self._model.named_parameters()}

    def logits(self, inputs: Inputs, names: Sequence[str]) -> torch.Tensor:
        """Return each row's logits by its own adapter, [B, L]."""
        with torch.inference_mode():
            logits: torch.Tensor = self._model(**inputs, adapter_names=list(names)).logits
        return logits

    def active_logits(self, inputs: Inputs) -> torch.Tensor:
        """Return the logits of the adapter that was loaded first, for a batch of its rows alone."""
        with torch.inference_mode():
            logits: torch.Tensor = self._model(**inputs).logits
        return logits


class PolyLoraPeer:
    """PolyLoRA: stacked slots and an adapter id per row. It drops trained heads; only its speed is compared."""

    def __init__(self, base: Base, recipe: Recipe, dtype: torch.dtype, n_slots: int) -> None:
        from polylora import PolyLoraConfig, PolyLoraModel

        model = base.load_with_head(AutoModelForSequenceClassification, n_labels=recipe.n_labels).to(dtype).eval()
        self._model = PolyLoraModel(model, PolyLoraConfig(max_gpu_adapters=n_slots, max_rank=recipe.rank,
                                                          target_modules=list(recipe.targets)))

    def load(self, name: str, folder: Path) -> None:
        """Load an adapter into host memory and into a slot."""
        self.store(name, folder)
        self._model.adapter_cache.ensure_resident([name])

    def store(self, name: str, folder: Path) -> None:
        """Load an adapter into host memory alone; the first row that names it takes it to a slot."""
        self._model.load_adapter_from_disk(name, str(folder))

    def logits(self, inputs: Inputs, names: Sequence[str]) -> torch.Tensor:
        """Return logits by each row's adapter under the base's own head, [B, L]."""
        with torch.inference_mode():
            logits: torch.Tensor = self._model(**inputs, adapter_ids=list(names)).logits
        return logits


def has_polylora() -> bool:
    """Say whether PolyLoRA is installed; where it is not, its figures are left out, and the run says so."""
    if importlib.util.find_spec("polylora") is not None:
        return True
    print("PolyLoRA is left out: `pip install --no-deps polylora` (its triton is needed on a GPU alone).")
    return False
