"""One step of the optimiser: a batch's rows over processes and passes, with the same gradient however spread."""

import gc
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.utils.memory import should_reduce_batch_size
from torch.optim.lr_scheduler import LRScheduler

from adapterhub.errors import TrainingError
from adapterhub.tasks.task import Example, Task
from adapterhub.training.adalora import RankBudget
from adapterhub.training.config import TrainConfig
from adapterhub.training.forward import compute_loss


class NotFinite(Exception):
    """A loss or a gradient that is no number; the weights are still those of the step before."""


@dataclass(slots=True, kw_only=True)
class Stepper:
    """What a step needs, made once."""

    config: TrainConfig
    task: Task
    model: torch.nn.Module
    """As Accelerate prepared it."""
    parameters: list[torch.nn.Parameter]
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    accelerator: Accelerator
    pad_id: int
    n_pieces: int
    """Passes per step; doubled where memory does not suffice."""
    budget: RankBudget | None = None
    """AdaLoRA's."""

    def take(self, examples: Sequence[Example], number: int) -> tuple[float, float]:
        """Make one step with a batch's rows; return its loss and the gradient's norm before clipping.

        `number` is the step's, from 1.

        Raises NotFinite before anything moved; TrainingError where memory does not suffice for a single row.
        """
        loss = self._gradient(examples)
        norm = float(self.accelerator.clip_grad_norm_(self.parameters, self.config.max_grad_norm) or 0.0)
        if not math.isfinite(norm):
            self.optimizer.zero_grad()
            raise NotFinite(f"The gradient's norm became {norm}")
        self.optimizer.step()
        self.schedule.step()
        if self.budget:
            self.budget.after_step(number)
        self.optimizer.zero_grad()
        return loss, norm

    def _gradient(self, examples: Sequence[Example]) -> float:
        while True:
            try:
                return self._accumulate(examples)
            except (RuntimeError, MemoryError) as error:
                if not isinstance(error, MemoryError) and not should_reduce_batch_size(error):
                    raise
            self._use_less_memory(examples)

    def _accumulate(self, examples: Sequence[Example]) -> float:
        """Add up the gradient of the batch's mean loss, pass by pass, and return that loss."""
        pieces = self._pieces(examples)
        loss = 0.0
        for number, (piece, share) in enumerate(pieces, start=1):
            is_last = number == len(pieces)
            self.accelerator.sync_gradients = is_last  # DeepSpeed makes its step in the last backward pass
            with nullcontext() if is_last else self.accelerator.no_sync(self.model):
                loss += self._pass(piece, share)
        if self.accelerator.num_processes > 1:
            told = torch.tensor(loss, device=self.accelerator.device)
            loss = float(self.accelerator.reduce(told, "sum"))
        return loss

    def _pass(self, piece: Sequence[Example], share: float) -> float:
        with self.accelerator.autocast():
            loss = compute_loss(self.model, self.task, piece, self.pad_id, self.accelerator.device)
            if self.budget:
                loss = loss + self.budget.penalty()
        value = float(loss.detach())
        if not math.isfinite(value):
            self.optimizer.zero_grad()
            raise NotFinite(f"The loss became {value}")
        # DistributedDataParallel takes the mean over processes, of what here are parts of one sum.
        self.accelerator.backward(loss * (share * self.accelerator.num_processes))
        return value * share

    def _pieces(self, examples: Sequence[Example]) -> list[tuple[Sequence[Example], float]]:
        """Split a batch into this process's passes, each with its share of the batch's loss."""
        rank, n_ranks = self.accelerator.process_index, self.accelerator.num_processes
        total = self.task.loss_weight(examples)
        if self.n_pieces == n_ranks == 1:
            return [(examples, 1.0)] if total else []
        if not self.task.can_split(examples):
            raise TrainingError("Rows of this task are told apart from the others of their batch: it cannot be split.",
                                hint="Train on one process, without --accumulation, with a smaller --batch-size.")
        own = examples[rank::n_ranks]
        size = max(1, math.ceil(len(own) / self.n_pieces))
        pieces = [own[i:i + size] for i in range(0, len(own), size)]
        weighed = [(piece, weight / total) for piece in pieces if (weight := self.task.loss_weight(piece))]
        if not weighed and total and n_ranks > 1:  # every process takes part in each exchange of gradients
            rows = (examples[i:i + 1] for i in range(len(examples)))
            weighed = [(next(row for row in rows if self.task.loss_weight(row)), 0.0)]
        return weighed

    def _use_less_memory(self, examples: Sequence[Example]) -> None:
        self.optimizer.zero_grad()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if self.n_pieces >= len(examples) or self.accelerator.num_processes > 1 or not self.task.can_split(examples):
            raise TrainingError(f"Memory does not suffice for {math.ceil(len(examples) / self.n_pieces)} rows at once.",
                                hint="Give a smaller --batch-size or --max-length, or --gradient-checkpointing.")
        self.n_pieces *= 2
