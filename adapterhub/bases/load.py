"""A base in memory: tokenizer, config, and frozen models of its architecture, with or without a head."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers.utils.logging
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from adapterhub.adapter.check import BaseShapes
from adapterhub.adapter.manifest import BaseFacts
from adapterhub.bases.embedded import EMBEDDED
from adapterhub.bases.fingerprint import Fingerprint, fingerprint_base
from adapterhub.bases.resolve import BaseSource, resolve_base
from adapterhub.errors import BaseNotFound

_HUB_IDS = {EMBEDDED: "sentence-transformers/all-MiniLM-L6-v2"}


@dataclass(frozen=True)
class Base:
    """One base: who it is, its tokenizer, and the way to its models. Loading a model is the caller's choice."""

    source: BaseSource
    identity: Fingerprint
    config: PretrainedConfig
    tokenizer: PreTrainedTokenizerBase

    @property
    def facts(self) -> BaseFacts:
        """What a manifest says of this base."""
        return BaseFacts(id=self.source.id, revision=self.source.revision, fingerprint=self.identity.fingerprint,
                         tokenizer_digest=self.identity.tokenizer, model_type=str(self.config.model_type))

    @property
    def hub_id(self) -> str:
        """The name by which stock clients find this base."""
        return _HUB_IDS.get(self.source.id, self.source.id)

    @cached_property
    def skeleton(self) -> PreTrainedModel:
        """The base without head and without memory, on the meta device."""
        with torch.device("meta"):
            model: PreTrainedModel = AutoModel.from_config(self.config)
        return model

    @cached_property
    def shapes(self) -> BaseShapes:
        """Names and shapes for the checks of an adapter."""
        return BaseShapes(fingerprint=self.identity.fingerprint, prefix=self.skeleton.base_model_prefix,
                          shapes={name: tuple(value.shape) for name, value in self.skeleton.state_dict().items()})

    @property
    def max_length(self) -> int:
        """Tokens that one text may have."""
        limits = (getattr(self.config, "max_position_embeddings", None), self.tokenizer.model_max_length)
        return min(int(limit) for limit in limits if limit)

    def load_trunk(self, *, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
        """Load the base without a head: frozen, in evaluation mode."""
        return self._frozen(self._load(AutoModel, self.config, dtype=dtype))

    def load_with_head(self, auto_class: Any, *, n_labels: int) -> PreTrainedModel:
        """Load the base under a fresh head of `n_labels` outputs; seeding is the caller's."""
        config = AutoConfig.from_pretrained(self.source.folder, num_labels=n_labels)
        return self._load(auto_class, config)

    def load_with_lm_head(self, *, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
        """Load the base with its own language-model head: frozen, in evaluation mode.

        Raises BaseNotFound where the base has no such head.
        """
        auto_class: Any = AutoModelForSeq2SeqLM if self.config.is_encoder_decoder else AutoModelForCausalLM
        with quiet_transformers():
            try:
                model, found = auto_class.from_pretrained(self.source.folder, config=self.config, dtype=dtype,
                                                          local_files_only=True, output_loading_info=True)
            except (OSError, ValueError, RuntimeError, SafetensorError) as error:
                raise BaseNotFound(f"{self.source.id} cannot be loaded as a language model: {_reason(error)}.",
                                   hint="Generation needs a causal or an encoder-decoder language model.") from error
        if missing := sorted(found["missing_keys"]):
            raise BaseNotFound(f"{self.source.id} has no language-model head: {missing[0]} is not in its weights.",
                               hint="Generation needs a causal or an encoder-decoder language model.")
        return self._frozen(model)

    def _load(self, auto_class: Any, config: PretrainedConfig, *,
              dtype: torch.dtype = torch.float32) -> PreTrainedModel:
        # The head is fresh by design; transformers' report of missing keys would only frighten.
        with quiet_transformers():
            try:
                model: PreTrainedModel = auto_class.from_pretrained(self.source.folder, config=config,
                                                                    dtype=dtype, local_files_only=True)
            except (OSError, ValueError, RuntimeError, SafetensorError) as error:
                raise BaseNotFound(f"{self.source.id} cannot be loaded as {auto_class.__name__}: {_reason(error)}.",
                                   hint="Check that it is a complete transformers model.") from error
        return model

    @staticmethod
    def _frozen(model: PreTrainedModel) -> PreTrainedModel:
        model.requires_grad_(requires_grad=False)
        model.eval()
        return model


def load_base(name: str, *, cache: Path, revision: str | None = None) -> Base:
    """Resolve, fingerprint and open a base; no weights are loaded yet.

    Raises BaseNotFound where it is absent, incomplete, or the embedded one is not upstream's.
    """
    source = resolve_base(name, revision=revision)
    identity = fingerprint_base(source, cache)
    with quiet_transformers():
        try:
            config = AutoConfig.from_pretrained(source.folder, local_files_only=True)
            tokenizer = AutoTokenizer.from_pretrained(source.folder, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise BaseNotFound(f"{name} cannot be opened: {_reason(error)}.",
                               hint="Check that it is a complete transformers model.") from error
    return Base(source=source, identity=identity, config=config, tokenizer=tokenizer)


def _reason(error: Exception) -> str:
    """Return a foreign error's first line, without the full stop."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".:") if lines else type(error).__name__


class quiet_transformers:  # noqa: N801  # a context manager reads as a verb
    """Hold back transformers' load reports and bars inside the block, then restore its own settings."""

    def __enter__(self) -> None:
        log: Any = transformers.utils.logging
        self._verbosity, self._has_bar = log.get_verbosity(), log.is_progress_bar_enabled()
        log.set_verbosity_error()
        log.disable_progress_bar()

    def __exit__(self, *_: object) -> None:
        log: Any = transformers.utils.logging
        log.set_verbosity(self._verbosity)
        if self._has_bar:
            log.enable_progress_bar()
