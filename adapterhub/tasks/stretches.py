"""Long contexts as overlapping stretches, each beside its question, and where in the text their tokens lie.

It knows no task and no model.
"""

from collections.abc import Sequence

from transformers import BatchEncoding, PreTrainedTokenizerBase

from adapterhub.errors import DataError, InvalidConfig
from adapterhub.tasks.task import TokenSequence

OVERLAP = 0.25
"""Share of a sequence that two neighbours have in common: an answer at one's edge stands whole in the other.
Source: Devlin et al. 2018 (BERT), run_squad.py: 128 of 384 tokens; a quarter leaves room for longer questions."""


def encode_stretches(tokenizer: PreTrainedTokenizerBase, questions: Sequence[str], contexts: Sequence[str],
                     max_length: int) -> list[list[TokenSequence]]:
    """Return each question's sequences, of at most `max_length` tokens, that together read its whole context.

    Raises DataError for a question that leaves its context no room; InvalidConfig for a tokenizer without offsets.
    """
    if not tokenizer.is_fast:
        raise InvalidConfig(f"{type(tokenizer).__name__} does not tell where in a text its tokens lie.",
                            hint="Use a base with a tokenizer.json.")
    n_common = int(max_length * OVERLAP)
    _require_room(tokenizer, questions, max_length, n_common)
    encoded = tokenizer(list(questions), list(contexts), truncation="only_second", max_length=max_length,
                        stride=n_common, return_overflowing_tokens=True, return_offsets_mapping=True)
    stretches: list[list[TokenSequence]] = [[] for _ in questions]
    for i, row in enumerate(encoded["overflow_to_sample_mapping"]):
        stretches[row].append(_stretch(encoded, i))
    return stretches


def _require_room(tokenizer: PreTrainedTokenizerBase, questions: Sequence[str], max_length: int,
                  n_common: int) -> None:
    n_special = tokenizer.num_special_tokens_to_add(pair=True)
    lengths = [len(ids) for ids in tokenizer(list(questions), add_special_tokens=False)["input_ids"]]
    limit = max_length - n_special - n_common - 1  # a stretch must go on where the one before it ended
    for question, length in zip(questions, lengths, strict=True):
        if length > limit:
            raise DataError(f"The question {question[:40]!r} has {length} tokens, a sequence of {max_length} leaves it "
                            f"{max(limit, 0)}.", hint="Shorten the question, or read more tokens (max length).")


def _stretch(encoded: BatchEncoding, i: int) -> TokenSequence:
    texts, spans = encoded.sequence_ids(i), encoded["offset_mapping"][i]
    # PEFT 0.21 drops the token types that its question-answering model is given, so stock answers come without them.
    return TokenSequence(input_ids=encoded["input_ids"][i], token_type_ids=[0] * len(texts),
                         span_of_token=[tuple(span) if text == 1 else None
                                        for text, span in zip(texts, spans, strict=True)])
