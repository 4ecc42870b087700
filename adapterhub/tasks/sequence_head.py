"""What the tasks share that read one text, or a pair, by the architecture's own sequence-classification head."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification

from adapterhub.tasks.rows import require_texts
from adapterhub.tasks.task import Example, Row


class SequenceHead:
    """One head output per label for each row [B, L]; what the outputs mean is the task's."""

    name: str
    auto_class = AutoModelForSequenceClassification
    peft_task_type = "SEQ_CLS"
    stratify_by: str | None = None
    has_stretches = False
    writes = False

    def lessons(self, examples: Sequence[Example]) -> list[Example]:
        """Return the examples: each is learned as a whole."""
        return list(examples)

    def outputs(self, model_output: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the logits [B, L]."""
        logits: torch.Tensor = model_output.logits
        return logits

    def loss_weight(self, examples: Sequence[Example]) -> float:
        """Return the number of rows."""
        return float(len(examples))

    def can_split(self, examples: Sequence[Example]) -> bool:
        """Say yes: each row has its own loss."""
        return True

    def parse_row(self, row: Any) -> Row:
        """Accept a text, a pair of texts, or a mapping with `text` and, for pairs, `text_pair`."""
        if isinstance(row, str):
            row = {"text": row}
        elif isinstance(row, (list, tuple)) and len(row) == 2:
            row = {"text": row[0], "text_pair": row[1]}
        return require_texts(row, self.name, ("text",), ("text_pair",))
