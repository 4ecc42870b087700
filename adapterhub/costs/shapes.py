"""Shapes of large language models, for what they cost and not for what they know: their weights are drawn."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import LlamaConfig

from adapterhub.bases.fingerprint import Fingerprint
from adapterhub.bases.load import Base, load_base
from adapterhub.bases.resolve import BaseSource
from adapterhub.costs.shadow import made_up

SHAPES: Mapping[str, Mapping[str, int]] = {
    "shape:llama-tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4,
                         "num_attention_heads": 4, "num_key_value_heads": 2},
    "shape:llama-1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
                       "num_attention_heads": 32, "num_key_value_heads": 8},
    "shape:llama-3b": {"hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 28,
                       "num_attention_heads": 24, "num_key_value_heads": 8},
    "shape:llama-8b": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
                       "num_attention_heads": 32, "num_key_value_heads": 8},
}
"""Name -> sizes; the tiny one is nobody's, and shows on any machine that the way works. Source of the others: the
configs of Llama 3.2 1B and 3B, and Llama 3.1 8B; vocabulary 128,256."""
SCALE_SHAPES = ("shape:llama-1b", "shape:llama-3b", "shape:llama-8b")
"""Those that the suite scale compares."""
VOCABULARY, POSITIONS = 128_256, 8192


class _NoTokenizer:
    """In the place of a tokenizer: rows are made of tokens."""

    pad_token_id = 0
    model_max_length = POSITIONS


def open_base(name: str, cache: Path) -> Base:
    """Open a base, or the shape of one. Raises as `load_base`."""
    if name not in SHAPES:
        return load_base(name, cache=cache)
    sizes: dict[str, Any] = dict(SHAPES[name])
    config = LlamaConfig(vocab_size=VOCABULARY, max_position_embeddings=POSITIONS, pad_token_id=0,
                         tie_word_embeddings=True, **sizes)
    nobody: Any = _NoTokenizer()
    identity = Fingerprint(fingerprint="0" * 64, weights="0" * 64, tokenizer="0" * 64, config="0" * 64)
    return made_up(Base(source=BaseSource(id=name, revision=None, folder=Path("nowhere")), identity=identity,
                        config=config, tokenizer=nobody))
