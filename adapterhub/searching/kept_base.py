"""A base whose model is read from the disk once: who asks for it again gets a copy of what was read."""

import copy
from typing import Any

import torch
from transformers import PreTrainedModel

from adapterhub.bases.load import Base


class KeptBase(Base):
    """A base for many runs in one process. A fresh head is drawn once, by the random state of the first asker.

    Later askers get the same head, and the random state that the first one was left with: seeded alike, every run
    begins as if it had loaded the base itself. Whole copies, as some methods write into the base's weights.
    """

    def load_with_head(self, auto_class: Any, *, n_labels: int) -> PreTrainedModel:
        """Return a copy of the base under its fresh head; raises as `Base` does."""
        return self._copy((auto_class, n_labels), lambda: Base.load_with_head(self, auto_class, n_labels=n_labels))

    def load_with_lm_head(self, *, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
        """Return a copy of the base with its language-model head; raises as `Base` does."""
        return self._copy(dtype, lambda: Base.load_with_lm_head(self, dtype=dtype))

    def _copy(self, key: Any, load: Any) -> PreTrainedModel:
        kept: dict[Any, tuple[PreTrainedModel, torch.Tensor]] = self.__dict__.setdefault("_kept", {})
        if key not in kept:
            model = load()
            kept[key] = (model, torch.get_rng_state())
        model, state = kept[key]
        torch.set_rng_state(state)
        own: PreTrainedModel = copy.deepcopy(model)
        return own


def keep_base(base: Base) -> KeptBase:
    """Return the same base, kept."""
    return KeptBase(source=base.source, identity=base.identity, config=base.config, tokenizer=base.tokenizer)
