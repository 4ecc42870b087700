"""Run a model over encoded rows, in batches of like length, and measure."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from adapterhub.data.pieces import in_pieces
from adapterhub.errors import TrainingError
from adapterhub.tasks.batch import by_length
from adapterhub.tasks.task import Evaluation, Example, Task
from adapterhub.training.forward import compute_outputs_of

Computing = Callable[[], AbstractContextManager[object]]
"""What a pass runs in: nothing, or autocast."""
READ_ROWS, WRITTEN_ROWS = 64, 8
"""Sequences of one pass. Of what is written every token has a logit for each of the vocabulary's."""
SORTED_ROWS = 4096
"""Rows that are sorted by length together, and read from the disk where they are there."""


def compute_outputs(model: torch.nn.Module, task: Task, examples: Sequence[Example], pad_id: int,
                    batch_size: int | None = None, computing: Computing = nullcontext) -> list[list[torch.Tensor]]:
    """Return each example's outputs, one float32 CPU tensor per sequence, cut to its own length.

    Sets the model to evaluation mode. Raises TrainingError where an output is no finite number.
    """
    model.eval()
    batch_size = batch_size or (WRITTEN_ROWS if task.writes else READ_ROWS)
    return [outputs for piece in in_pieces(examples, SORTED_ROWS)
            for outputs in _outputs_of_piece(model, task, piece, pad_id, batch_size, computing)]


def evaluate_model(model: torch.nn.Module, task: Task, examples: Sequence[Example], labels: Sequence[str],
                   pad_id: int, computing: Computing = nullcontext) -> Evaluation:
    """Measure a model on encoded rows; its passes run in `computing`, the metrics in float32."""
    return task.evaluate(compute_outputs(model, task, examples, pad_id, computing=computing), examples, labels)


def _outputs_of_piece(model: torch.nn.Module, task: Task, examples: Sequence[Example], pad_id: int,
                      batch_size: int, computing: Computing) -> list[list[torch.Tensor]]:
    device = next(model.parameters()).device
    places = [(i, k) for i, example in enumerate(examples) for k in range(len(example.sequences))]
    sequences = [examples[i].sequences[k] for i, k in places]
    results: list[list[Any]] = [[None] * len(example.sequences) for example in examples]
    with torch.inference_mode():
        for batch in by_length([len(sequence.input_ids) for sequence in sequences], batch_size):
            with computing():
                outputs = compute_outputs_of(model, task, [sequences[j] for j in batch], pad_id, device).float().cpu()
            if not outputs.isfinite().all():
                raise TrainingError("The model's outputs are no finite numbers any more.",
                                    hint="Give a lower --learning-rate.")
            for row, j in enumerate(batch):
                i, k = places[j]
                is_per_token = outputs.ndim == 3
                results[i][k] = outputs[row, :sequences[j].n_outputs].clone() if is_per_token else outputs[row]
    return results
