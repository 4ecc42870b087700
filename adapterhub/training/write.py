"""Answers of a model in training to test rows, greedily, by transformers' own `generate`."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from adapterhub.tasks.batch import by_length
from adapterhub.tasks.written import Answered, Questions

_ROWS_PER_PASS = 16


def write_answers(model: Any, questions: Questions, tokenizer: PreTrainedTokenizerBase) -> list[Answered]:
    """Return what a model writes for each row, without special tokens. Sets the model to evaluation mode."""
    model.eval()
    prompts = [question.tokens for question in questions.rows]
    texts = [""] * len(prompts)
    has_own_tokens = bool(getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False))
    # Behind tokens of a method's own, PEFT counts padding as positions: such rows are written alone.
    for batch in by_length([len(prompt) for prompt in prompts], 1 if has_own_tokens else _ROWS_PER_PASS):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Position ids are not supported")  # of rows without padding
            written = _generate(model, [prompts[i] for i in batch], questions.max_new_tokens, tokenizer)
        for i, tokens in zip(batch, written, strict=True):
            texts[i] = str(tokenizer.decode(tokens, skip_special_tokens=True))
    return [Answered(question, text) for question, text in zip(questions.rows, texts, strict=True)]


def _generate(model: Any, prompts: Sequence[list[int]], n_new: int,
              tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Return new tokens for prompts that are padded on the left, or for an encoder's, on the right."""
    is_apart = model.config.is_encoder_decoder
    pad = int(tokenizer.pad_token_id or 0)
    width = max(map(len, prompts))
    fillers = [[pad] * (width - len(prompt)) for prompt in prompts]
    masks = [[0] * len(filler) for filler in fillers]
    ids = [[*prompt, *filler] if is_apart else [*filler, *prompt]
           for prompt, filler in zip(prompts, fillers, strict=True)]
    mask = [[*[1] * len(prompt), *zeros] if is_apart else [*zeros, *[1] * len(prompt)]
            for prompt, zeros in zip(prompts, masks, strict=True)]
    device = next(model.parameters()).device
    with torch.inference_mode():
        written = model.generate(input_ids=torch.tensor(ids, device=device), max_new_tokens=n_new, do_sample=False,
                                 attention_mask=torch.tensor(mask, device=device), num_beams=1, pad_token_id=pad)
    return [row[1 if is_apart else width:].tolist() for row in written]
