"""Texts to token sequences, cut at a length, with word of which ones were cut. It knows no task."""

from collections.abc import Sequence
from typing import Any

from transformers import BatchEncoding, PreTrainedTokenizerBase

from adapterhub.tasks.task import Example, Row, TokenSequence


def encode_rows(rows: Sequence[Row], targets: Sequence[Any], tokenizer: PreTrainedTokenizerBase,
                max_length: int) -> list[Example]:
    """Return rows with `text`, and all or none with `text_pair`, as examples of one sequence."""
    if not rows:
        return []
    pairs = [row["text_pair"] for row in rows] if "text_pair" in rows[0] else None
    encoded = encode_texts(tokenizer, [row["text"] for row in rows], pairs, max_length)
    return [Example(sequences=[sequence], target=target, row=row, is_truncated=is_cut)
            for row, target, (sequence, is_cut) in zip(rows, targets, encoded, strict=True)]


def encode_texts(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], pairs: Sequence[str] | None,
                 max_length: int) -> list[tuple[TokenSequence, bool]]:
    """Return each text (or pair of texts) as a sequence of at most `max_length` tokens, and whether it was cut."""
    encoded = tokenizer(list(texts), None if pairs is None else list(pairs), truncation=True, max_length=max_length,
                        return_token_type_ids=True)
    sequences = [TokenSequence(input_ids=ids, token_type_ids=types)
                 for ids, types in zip(encoded["input_ids"], encoded["token_type_ids"], strict=True)]
    return [(sequence, was_cut(encoded, i, max_length)) for i, sequence in enumerate(sequences)]


def was_cut(encoded: BatchEncoding, i: int, max_length: int) -> bool:
    """Say whether the i-th text lost tokens. A tokenizer without Rust cannot tell: there, a full length counts."""
    if encoded.encodings is None:
        return len(encoded["input_ids"][i]) >= max_length
    return bool(encoded.encodings[i].overflowing)
