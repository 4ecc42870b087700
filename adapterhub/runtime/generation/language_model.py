"""One language model in memory with slots in its layers: reads prompts, and computes each row's next token.

Steps are our own, because transformers' continuous batching (5.23) lays all rows' tokens end to end in one sequence
whose order its scheduler chooses, so that a layer cannot tell whose tokens it sees, and takes no encoder-decoder.
The passes are the architecture's own code. It knows no registry and no queue. Not thread-safe.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from transformers import Cache, EncoderDecoderCache, PreTrainedModel

from adapterhub.bases.load import Base
from adapterhub.errors import BaseNotFound, PredictionError
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.content import AdapterReader
from adapterhub.runtime.copies import on_device
from adapterhub.runtime.device import device_of, dtype_of
from adapterhub.runtime.generation.key_values import KeyValues, RowLayer, TokenBytes, size_bytes_of
from adapterhub.runtime.generation.own_positions import COUNTING_DECODERS, OwnPositions
from adapterhub.runtime.grouping import work_of
from adapterhub.runtime.loaded import LoadedAdapter, LoadedAdapters
from adapterhub.runtime.slot_linear import BatchWork, LayerWork, adaptable_layers, inject
from adapterhub.runtime.slots import Slots
from adapterhub.tasks.batch import collate
from adapterhub.tasks.generation import GenerationTask
from adapterhub.tasks.one_pass import outputs_of
from adapterhub.tasks.task import Task, TokenSequence
from adapterhub.tasks.text2text_generation import Text2TextGeneration
from adapterhub.tasks.text_generation import TextGeneration

_RELATIVE_DECODERS = ("t5", "mt5", "umt5")
"""Encoder-decoder types whose decoders count no positions, so that rows of other lengths can share a step."""
Work = Mapping[str, LayerWork]


class SlotLanguageModel:
    """The frozen model, its slots, and the adapters in them."""

    def __init__(self, base: Base, config: RuntimeConfig, *, must_write: bool = True) -> None:
        """Load the base with its own head. A kind that cannot write row by row still scores whole texts.

        Raises BaseNotFound where it is no language model, or `must_write` and cannot.
        """
        self.base = base
        self.device = device_of(config.device)
        self.dtype = dtype_of(config.dtype, self.device)
        self.task: GenerationTask = Text2TextGeneration() if base.config.is_encoder_decoder else TextGeneration()
        self.model = base.load_with_lm_head(dtype=self.dtype)
        self.model.to(self.device)  # type: ignore[arg-type]  # transformers' own signature is wrapped
        self._accepted = inspect.signature(self.model.forward).parameters.keys()
        self.can_write = must_write or _can_write(base, self.model, self._accepted)
        if must_write:
            _require_known_kind(base, self.model, self._accepted)
        self._own_positions = _own_positions(base, self.model)
        trunk = cast("PreTrainedModel", self.model.base_model)  # a module to mypy
        self._work = BatchWork()
        layers = inject(trunk, adaptable_layers(trunk), self._work, is_packed=config.is_packed)
        self._slots = Slots(dtype=self.dtype, device=self.device, budget_bytes=config.slots_bytes,
                            max_slots=config.max_slots)
        self.adapters = LoadedAdapters(AdapterReader(base.shapes, layers), self._slots, _NoHeads(), self._find_task)
        self.bare = LoadedAdapter(digest="", task=self._find_task(self.task.name), labels=[], head={})
        self._pad = int(base.tokenizer.pad_token_id or 0)
        self.n_layers, self.token_bytes = self._probe() if self.can_write else (0, TokenBytes(0, 0))
        self.n_passes = 0

    @property
    def start_tokens(self) -> list[int]:
        """What a row's own tokens begin with beside the prompt: the decoder's start; nothing for causal models."""
        if not self.base.config.is_encoder_decoder:
            return []
        config = self.model.generation_config
        start = None if config is None else config.decoder_start_token_id
        return [int(self.base.config.decoder_start_token_id if start is None else start)]

    @property
    def most_written(self) -> int | None:
        """Tokens that a row's own sequence may have; None: as many as its memory holds."""
        if not self.base.config.is_encoder_decoder:
            return self.base.max_length
        return int(self.base.config.max_position_embeddings) if self._own_positions else None

    def work_of(self, adapters: Sequence[LoadedAdapter]) -> Work:
        """Return what layers add for rows in this order, which is one of `order_of`; good until the rows change."""
        self._slots.settle()
        return work_of(adapters, self.dtype, self.device, is_kept=True)

    @torch.inference_mode()
    def read(self, prompts: Sequence[Sequence[int]], work: Work) -> tuple[torch.Tensor, KeyValues]:
        """Read prompts and return each row's next logits [B, V], float32, with the keys and values of its tokens."""
        has_source = bool(self.base.config.is_encoder_decoder)
        kept = KeyValues.empty(self.n_layers, has_source=has_source)
        lengths = [len(prompt) for prompt in prompts]
        width = max(lengths)
        if has_source:
            kept.lengths, kept.source_lengths = [1] * len(prompts), lengths
            inputs = {"input_ids": self._tensor([[*prompt, *[self._pad] * (width - len(prompt))]
                                                 for prompt in prompts]),
                      "attention_mask": kept.source_mask(self.device),
                      "decoder_input_ids": self._tensor([self.start_tokens for _ in prompts])}
        else:
            kept.lengths = lengths
            mask = kept.mask(self.device)
            inputs = {"input_ids": self._tensor([[*[self._pad] * (width - len(prompt)), *prompt]
                                                 for prompt in prompts]),
                      "attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
        logits = self._run(inputs, kept.as_cache(), work)
        kept.clear_padding_()
        return logits, kept

    @torch.inference_mode()
    def advance(self, tokens: Sequence[int], kept: KeyValues, work: Work) -> torch.Tensor:
        """Take each row's newest token and return its next logits [B, V], float32; `kept` grows by one column."""
        newest = self._tensor([[token] for token in tokens])
        mask = kept.mask(self.device, n_new=1)
        if kept.cross:
            # The decoder reads the encoder's states from `kept`; of the states themselves it only asks the shape.
            source = kept.source_mask(self.device)
            states = torch.zeros(1, dtype=self.dtype, device=self.device).expand(
                *source.shape, int(self.base.config.hidden_size))
            inputs = {"encoder_outputs": (states,), "attention_mask": source, "decoder_input_ids": newest,
                      "decoder_attention_mask": mask}
            if self._own_positions:
                self._own_positions.places = self._tensor([[length] for length in kept.lengths])
        else:
            inputs = {"input_ids": newest, "attention_mask": mask,
                      "position_ids": self._tensor([[length] for length in kept.lengths])}
        logits = self._run(inputs, kept.as_cache(), work)
        kept.lengths = [length + 1 for length in kept.lengths]
        return logits

    @torch.inference_mode()
    def score(self, sequences: Sequence[TokenSequence], adapter: LoadedAdapter) -> torch.Tensor:
        """Return what the task reads of whole sequences under one adapter: [B, T, 2], on the model's device."""
        inputs = {name: on_device(value, self.device) for name, value in collate(sequences, self._pad).items()}
        self._work.of_layer = self.work_of([adapter] * len(sequences))
        try:
            return outputs_of(self.model, self.task, inputs)
        finally:
            self._work.of_layer = {}

    def _run(self, inputs: dict[str, Any], cache: Cache, work: Work) -> torch.Tensor:
        if "logits_to_keep" in self._accepted:
            inputs["logits_to_keep"] = 1
        self._work.of_layer = work
        try:
            logits: torch.Tensor = self.model(**inputs, past_key_values=cache, use_cache=True).logits
        finally:
            self._work.of_layer = {}
            if self._own_positions:
                self._own_positions.places = None
        self.n_passes += 1
        return logits[:, -1].float()

    @torch.inference_mode()
    def _probe(self) -> tuple[int, TokenBytes]:
        """Return the number of layers that keep keys and values, and the bytes of one token, from a pass of one."""
        self.n_passes = 0
        own, cross = (Cache(layer_class_to_replicate=RowLayer) for _ in range(2))
        one = self._tensor([[self._pad]])
        if self.base.config.is_encoder_decoder:
            self._run({"input_ids": one, "decoder_input_ids": one}, EncoderDecoderCache(own, cross), {})
        else:
            self._run({"input_ids": one, "attention_mask": torch.ones_like(one)}, own, {})
        return len(own.layers), TokenBytes(size_bytes_of(own.layers), size_bytes_of(cross.layers))

    def _find_task(self, name: str) -> Task:
        if name != self.task.name:
            raise PredictionError(f"The adapter is for {name}, this generator answers {self.task.name}.",
                                  hint="Rows of other tasks are answered by Runtime.predict.")
        return self.task

    def _tensor(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        return on_device(torch.tensor(rows), self.device)


class _NoHeads:
    """Adapters that write use the base's own head."""

    def bind(self, task: Task, n_labels: int, head: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return nothing. Raises PredictionError where the adapter has a head of its own."""
        if head:
            raise PredictionError(f"The adapter saves {next(iter(head))} whole, which rows cannot share.",
                                  hint="Train it without modules_to_save and without biases outside the layers.")
        return {}


def _own_positions(base: Base, model: Any) -> OwnPositions | None:
    return OwnPositions(model.get_decoder().embed_positions) if base.config.model_type in COUNTING_DECODERS else None


def _can_write(base: Base, model: PreTrainedModel, accepted: "Mapping[str, object] | Any") -> bool:
    try:
        _require_known_kind(base, model, accepted)
    except BaseNotFound:
        return False
    return True


def _require_known_kind(base: Base, model: PreTrainedModel, accepted: "Mapping[str, object] | Any") -> None:
    if base.config.is_encoder_decoder:
        is_known = base.config.model_type in (*_RELATIVE_DECODERS, *COUNTING_DECODERS)
    else:
        is_known = "position_ids" in accepted and not getattr(model, "_is_stateful", False)
    if not is_known:
        raise BaseNotFound(f"{base.source.id} is of type {base.config.model_type}, whose rows cannot share a step: "
                           "it does not take each row's own positions.",
                           hint="Generation serves causal models with position_ids, the T5 family and BART.")
    if not base.tokenizer.is_fast:
        raise BaseNotFound(f"The tokenizer of {base.source.id} cannot decode token by token.",
                           hint="Save it with a tokenizer.json.")
