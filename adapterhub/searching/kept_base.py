"""A base whose model is read from the disk once: who asks again gets modules of its own over the same weights."""

import copy
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
import xxhash
from transformers import PreTrainedModel

from adapterhub.bases.load import Base


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    model: PreTrainedModel
    before: torch.Tensor
    """Random state in which it was loaded: a fresh head is drawn by it."""
    after: torch.Tensor
    hashes: list[int]
    is_trained: list[bool]


class KeptBase(Base):
    """A base for many runs in one process, one after another.

    A fresh head is drawn once, by the random state of the first asker. Later askers get the same head, and the random
    state that the first one was left with: seeded alike, every run begins as if it had loaded the base itself. The base
    is frozen, so its weights are shared; where a run's method wrote into them all the same, they are read anew.
    """

    def load_with_head(self, auto_class: Any, *, n_labels: int) -> PreTrainedModel:
        """Return the base under its fresh head; raises as `Base` does."""
        return self._share((auto_class, n_labels), lambda: Base.load_with_head(self, auto_class, n_labels=n_labels))

    def load_with_lm_head(self, *, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
        """Return the base with its language-model head; raises as `Base` does."""
        return self._share(dtype, lambda: Base.load_with_lm_head(self, dtype=dtype))

    def _share(self, key: Hashable, load: Callable[[], PreTrainedModel]) -> PreTrainedModel:
        memory: dict[Hashable, _Kept] = self.__dict__.setdefault("_memory", {})
        kept = memory.get(key)
        if kept is None or _hashes(kept.model) != kept.hashes:
            if kept is not None:
                torch.set_rng_state(kept.before)
            kept = memory[key] = _load(load)
        torch.set_rng_state(kept.after)
        for value, is_trained in zip(kept.model.parameters(), kept.is_trained, strict=True):
            value.grad = None
            value.requires_grad_(is_trained)
        shared: PreTrainedModel = copy.deepcopy(kept.model, {id(value): value for value in _tensors(kept.model)})
        return shared


def keep_base(base: Base) -> KeptBase:
    """Return the same base, kept."""
    return KeptBase(source=base.source, identity=base.identity, config=base.config, tokenizer=base.tokenizer)


def _load(load: Callable[[], PreTrainedModel]) -> _Kept:
    before = torch.get_rng_state()
    model = load()
    return _Kept(model=model, before=before, after=torch.get_rng_state(), hashes=_hashes(model),
                 is_trained=[value.requires_grad for value in model.parameters()])


def _hashes(model: PreTrainedModel) -> list[int]:
    """Return a fast hash of each tensor: nobody forges weights here, a method may only have written into them."""
    return [xxhash.xxh3_64_intdigest(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
            for value in _tensors(model)]


def _tensors(model: PreTrainedModel) -> Iterator[torch.Tensor]:
    return chain(model.parameters(), model.buffers())
