"""A language model that is measured under adapters: how likely each token of right texts is, and what it writes itself.

It knows no registry and no queue.
"""

import time
from collections.abc import Sequence

import torch

from adapterhub.bases.load import Base
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.generation.flight import Flight
from adapterhub.runtime.generation.language_model import SlotLanguageModel
from adapterhub.runtime.generation.request import RequestReader
from adapterhub.runtime.generation.settings import GenerationSettings
from adapterhub.runtime.loaded import LoadedAdapter, LoadedAdapters
from adapterhub.tasks.batch import by_length
from adapterhub.tasks.task import Example
from adapterhub.tasks.written import Answered, Questions

_ROWS_PER_PASS = 8
"""Every token of a pass has a logit for each of the vocabulary's."""
_CACHE_BYTES = 1 << 40
"""Each row is checked against the memory of a whole generator, which here has few rows and no bound of its own."""


class ScoringModel:
    """What `SharedBase` is for tasks with heads: adapters in slots, and rows computed under them. Not thread-safe."""

    def __init__(self, base: Base, config: RuntimeConfig) -> None:
        """Load the base. Raises BaseNotFound where it is no language model."""
        self.base = base
        self._model = SlotLanguageModel(base, config, must_write=False)

    @property
    def adapters(self) -> LoadedAdapters:
        """The adapters in slots."""
        return self._model.adapters

    def compute(self, rows: Sequence[tuple[LoadedAdapter, Example]]) -> list[list[torch.Tensor]]:
        """Return each row's outputs, float32 on the processor, one [T, 2] per sequence."""
        outputs: list[list[torch.Tensor]] = [[torch.empty(0)] * len(example.sequences) for _, example in rows]
        for digest in dict.fromkeys(adapter.digest for adapter, _ in rows):
            places = [(i, k) for i, (adapter, example) in enumerate(rows) if adapter.digest == digest
                      for k in range(len(example.sequences))]
            self._compute_one(rows, places, outputs)
        return outputs

    def write(self, questions: Questions, adapter: LoadedAdapter) -> list[Answered]:
        """Answer rows greedily under one adapter; of a base whose kind cannot write row by row, none."""
        if not self._model.can_write:
            return []
        reader = RequestReader(self._model, _CACHE_BYTES)
        settings = GenerationSettings(max_new_tokens=questions.max_new_tokens)
        answers: list[Answered] = []
        for start in range(0, len(questions.rows), _ROWS_PER_PASS):
            asked = questions.rows[start:start + _ROWS_PER_PASS]
            rows = [reader.row(None, None, question.prompt, settings, now=time.monotonic()) for question in asked]
            for row in rows:
                row.adapter = adapter
            flight = Flight(self._model)
            flight.join(rows)
            while flight.rows:
                flight.advance()
            answers += [Answered(question, row.answer().text) for question, row in zip(asked, rows, strict=True)]
        return answers

    def _compute_one(self, rows: Sequence[tuple[LoadedAdapter, Example]], places: list[tuple[int, int]],
                     outputs: list[list[torch.Tensor]]) -> None:
        """Set the outputs of the sequences at places (row, part), all of one adapter."""
        sequences = [rows[i][1].sequences[k] for i, k in places]
        for batch in by_length([len(sequence.input_ids) for sequence in sequences], _ROWS_PER_PASS):
            scored = self._model.score([sequences[j] for j in batch], rows[places[0][0]][0]).float().cpu()
            for j, output in zip(batch, scored, strict=True):
                i, k = places[j]
                outputs[i][k] = output[:sequences[j].n_outputs].clone()
