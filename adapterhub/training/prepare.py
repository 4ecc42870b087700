"""From rows to what the loop reads: encoded, with their labels, the parts as the run uses them."""

from collections.abc import Sequence
from dataclasses import dataclass

from adapterhub.bases.load import Base
from adapterhub.data.split import Splits
from adapterhub.errors import DataError
from adapterhub.tasks.task import Example, Row, Task
from adapterhub.training.config import TrainConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopInputs:
    """Encoded rows and what turns them into batches."""

    train: Sequence[Example]
    validation: Sequence[Example]
    """Empty: the last epoch is kept."""
    labels: list[str]
    pad_id: int

    @property
    def lengths(self) -> list[int]:
        """Tokens of each training example's longest sequence."""
        return [max(len(sequence.input_ids) for sequence in example.sequences) for example in self.train]


def prepare(config: TrainConfig, task: Task, base: Base, splits: Splits, labels: list[str]) -> LoopInputs:
    """Encode the parts that training reads. Raises DataError for an unusable row or too great a length."""
    if config.length > base.max_length:
        raise DataError(f"max_length is {config.length}, the base reads at most {base.max_length} tokens.",
                        hint=f"Give --max-length {base.max_length}.")

    def encode(rows: Sequence[Row]) -> list[Example]:
        return task.encode(rows, base.tokenizer, labels, config.length)

    train, validation = encode(splits.train), encode(splits.validation)
    learned = train if config.is_validated else train + validation
    return LoopInputs(train=task.lessons(learned), validation=validation if config.is_validated else [], labels=labels,
                      pad_id=int(base.tokenizer.pad_token_id or 0))
