"""text-generation: a causal base goes on with a prompt, answers a chat, or learns the language of plain texts."""

from collections.abc import Sequence
from dataclasses import replace

from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from adapterhub.data.columns import Columns
from adapterhub.tasks.conversations import Turns, encode_turns
from adapterhub.tasks.generation import GenerationTask
from adapterhub.tasks.task import IGNORED, Example, Row, TokenSequence


class TextGeneration(GenerationTask):
    """Continuation of a prompt. Only completions are learned, as the tokens that follow the prompt as it is served."""

    name = "text-generation"
    auto_class = AutoModelForCausalLM
    peft_task_type = "CAUSAL_LM"
    columns = Columns(required=("prompt", "completion"), optional=("references",), others=(("messages",), ("text",)))

    def _encode(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[Example]:
        if "text" in rows[0]:
            texts = tokenizer([row["text"] for row in rows])["input_ids"]
            return [Example(sequences=_stretches(ended(tokens, tokenizer), max_length), row=row)
                    for row, tokens in zip(rows, texts, strict=True)]
        if "messages" in rows[0]:
            turns = [encode_turns(row["messages"], tokenizer) for row in rows]
        else:
            prompts = tokenizer([row["prompt"] for row in rows])["input_ids"]
            completions = tokenizer([row["completion"] for row in rows], add_special_tokens=False)["input_ids"]
            turns = [Turns(prompt=prompt, completion=completion, is_learned=[False] * len(prompt))
                     for prompt, completion in zip(prompts, completions, strict=True)]
        return [_example(own, row, tokenizer, max_length) for own, row in zip(turns, rows, strict=True)]

    def probe_sequence(self, input_ids: list[int]) -> TokenSequence:
        """Return tokens that each have to be followed by the next."""
        return _sequence(input_ids, [True] * len(input_ids))


def ended(tokens: list[int], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return a text's tokens with the end of text behind them, where the tokenizer knows one and it is not there."""
    end = tokenizer.eos_token_id
    return tokens if end is None or end in tokens[-1:] else [*tokens, end]


def learned_whole(example: Example) -> Example:
    """Return a causal example in which every token is learned, the prompt's too."""
    return replace(example, sequences=[
        replace(sequence, labels=[*sequence.input_ids[1:], *sequence.labels[-1:]]) for sequence in example.sequences])


def _example(turns: Turns, row: Row, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Example:
    completion = turns.completion
    if not turns.is_ended:
        completion = ended(completion, tokenizer)
    n_tokens = max_length + 1  # the last one is written and never read
    n_completion = min(len(completion), max(n_tokens - len(turns.prompt), n_tokens // 2))
    n_prompt = min(len(turns.prompt), n_tokens - n_completion)
    cut = len(turns.prompt) - n_prompt
    tokens = [*turns.prompt[cut:], *completion[:n_completion]]
    is_learned = [*turns.is_learned[cut:], *[True] * n_completion]
    return Example(sequences=[_sequence(tokens, is_learned)], row=row,
                   is_truncated=cut > 0 or n_completion < len(completion))


def _stretches(tokens: list[int], max_length: int) -> list[TokenSequence]:
    """Return a text as sequences of at most `max_length` tokens, in which each token but the first is a label once."""
    starts = range(0, max(1, len(tokens) - 1), max_length)
    parts = [tokens[start:start + max_length + 1] for start in starts]
    return [_sequence(part, [True] * len(part)) for part in parts]


def _sequence(tokens: list[int], is_learned: Sequence[bool]) -> TokenSequence:
    """Return all tokens but the last as what is read; each one's label is its successor, where that is learned."""
    labels = [token if learned else IGNORED for token, learned in zip(tokens[1:], is_learned[1:], strict=True)]
    return TokenSequence(input_ids=tokens[:-1], token_type_ids=[0] * len(labels), labels=labels)
