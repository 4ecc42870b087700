"""text2text-generation: an encoder-decoder base reads a text and writes another."""

from collections.abc import Sequence
from dataclasses import replace

from transformers import AutoModelForSeq2SeqLM, PreTrainedTokenizerBase

from adapterhub.data.columns import Columns
from adapterhub.tasks.generation import GenerationTask
from adapterhub.tasks.subwords import encode_texts, was_cut
from adapterhub.tasks.task import Example, Row, TokenSequence


class Text2TextGeneration(GenerationTask):
    """A new text from a text: a summary, a translation, an answer."""

    name = "text2text-generation"
    auto_class = AutoModelForSeq2SeqLM
    peft_task_type = "SEQ_2_SEQ_LM"
    columns = Columns(required=("prompt", "completion"), optional=("references",))
    reads_apart = True

    def _encode(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[Example]:
        sources = encode_texts(tokenizer, [row["prompt"] for row in rows], None, max_length)
        encoded = tokenizer(text_target=[row["completion"] for row in rows], truncation=True, max_length=max_length)
        examples = []
        for i, (row, (source, is_cut)) in enumerate(zip(rows, sources, strict=True)):
            target, is_target_cut = encoded["input_ids"][i], was_cut(encoded, i, max_length)
            end = tokenizer.eos_token_id
            if not is_target_cut and end is not None and end not in target[-1:] and len(target) < max_length:
                target = [*target, end]
            examples.append(Example(sequences=[replace(source, labels=target)], row=row,
                                    is_truncated=is_cut or is_target_cut))
        return examples

    def probe_sequence(self, input_ids: list[int]) -> TokenSequence:
        """Return tokens that have to be written as they were read."""
        return TokenSequence(input_ids=input_ids, token_type_ids=[0] * len(input_ids), labels=list(input_ids))
