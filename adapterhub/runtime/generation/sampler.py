"""How a row's next token is chosen: by transformers' own processors, with draws of the row's own generator."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import LogitsProcessorList, PreTrainedModel

from adapterhub.runtime.copies import on_device
from adapterhub.runtime.generation.settings import GenerationSettings


class Sampler:
    """Chooses the tokens of one row."""

    def __init__(self, processors: LogitsProcessorList, generator: torch.Generator | None) -> None:
        self._processors, self._generator = processors, generator

    @property
    def is_plain(self) -> bool:
        """Whether the likeliest token is taken as the model gives it."""
        return not self._processors and self._generator is None

    def choose(self, logits: torch.Tensor, tokens: Sequence[int]) -> torch.Tensor:
        """Return one token [1] after these. logits [1, V] float32."""
        ids: Any = on_device(torch.tensor([tokens]), logits.device)  # transformers asks for a LongTensor
        scores: Any = self._processors(ids, logits)
        if self._generator is None:
            chosen: torch.Tensor = scores.argmax(dim=-1)
            return chosen
        return torch.multinomial(scores.softmax(dim=-1), 1, generator=self._generator).squeeze(1)


def sampler_of(model: PreTrainedModel, settings: GenerationSettings, tokens: Sequence[int],
               source: Sequence[int]) -> Sampler:
    """Return what chooses a row's tokens as `model.generate` with these settings would.

    `tokens`: what the row's own sequence begins with; `source`: what an encoder reads, empty where there is none.
    The base's generation config holds where the settings say nothing; beams are never searched.
    """
    is_drawn = settings.temperature > 0
    given: dict[str, float] = {"do_sample": is_drawn, "num_beams": 1,
                               "max_length": len(tokens) + settings.max_new_tokens}
    if is_drawn:
        given |= {"temperature": settings.temperature, "top_k": settings.top_k, "top_p": settings.top_p}
    if settings.repetition_penalty is not None:
        given["repetition_penalty"] = settings.repetition_penalty
    generating: Any = model  # its generation methods are a module's attributes to mypy
    config = generating._prepare_generation_config(None, **given)[0]
    generating._prepare_special_tokens(config, kwargs_has_attention_mask=True, device=model.device)
    encoder_ids = torch.tensor([source], device=model.device) if source else None
    processors = generating._get_logits_processor(config, input_ids_seq_length=len(tokens),
                                                  encoder_input_ids=encoder_ids, device=str(model.device))
    generator = torch.Generator(model.device).manual_seed(settings.seed) if is_drawn else None
    return Sampler(processors, generator)


def choose_tokens(logits: torch.Tensor, samplers: Sequence[Sampler], tokens: Sequence[Sequence[int]]) -> list[int]:
    """Return each row's next token. logits [B, V] float32; tokens[i]: what row i has so far."""
    chosen = logits.argmax(dim=-1)
    for i, sampler in enumerate(samplers):
        if not sampler.is_plain:
            chosen[i:i + 1] = sampler.choose(logits[i:i + 1], tokens[i])
    return [int(token) for token in chosen.tolist()]  # the step's one wait for the device: rows may end here
