"""A training step without its numbers: tensors with shapes and no values, so that its memory is counted ahead.

The model is built by the trainer's own code on torch's meta device, and runs forward, backward and the optimiser's step
in torch's fake-tensor mode, which chooses the operators that a real run would. Every tensor that comes to life is
counted until it goes. No weight is read, and no batch is too large.
"""

import copy
import math
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel

from adapterhub.bases.load import Base
from adapterhub.costs.figures import MemoryParts
from adapterhub.errors import InvalidConfig
from adapterhub.tasks.one_pass import outputs_of
from adapterhub.tasks.task import Task
from adapterhub.training.config import TrainConfig
from adapterhub.training.held import computes_in_bfloat16, hold_frozen
from adapterhub.training.methods import TrainedModel, build_model
from adapterhub.training.optimizer import build_optimizer
from adapterhub.training.remembered import leave_out_lower


@dataclass(frozen=True, slots=True, kw_only=True)
class StepShape:
    """How large a step is."""

    batch_size: int
    """Rows."""
    length: int
    """Tokens of each sequence, padding included."""
    n_labels: int
    n_sequences: int = 1
    """That each row has; two where pairs are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCount:
    """What one step of a run needs."""

    parts: MemoryParts
    peak_bytes: int
    """Most bytes of tensors alive at once, from the second step on, when the optimiser has its state."""
    trained_parameters: int
    total_parameters: int
    stored: dict[str, tuple[int, ...]]
    """Name -> shape of each tensor that the result's file holds."""
    flops: int
    """Of matrix products, forward and backward."""


def count_step(config: TrainConfig, base: Base, task: Task, shape: StepShape) -> StepCount:
    """Count a step. Raises InvalidConfig for a method that must see the weights first, and as `build_model`.

    The activations are those of one pass, of which a step makes `accumulation`.
    """
    shape = replace(shape, batch_size=math.ceil(shape.batch_size / config.accumulation))
    trained = shadow_model(config, base, task, n_labels=shape.n_labels)
    model: Any = trained.model
    total = sum(value.numel() for value in model.parameters())
    if config.gradient_checkpointing:
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    with FakeTensorMode(allow_non_fake_inputs=True):
        give_fake_values(model)
        stored = {name: tuple(value.shape) for name, value in trained.state().items()}
        if config.remember_lower:
            leave_out_lower(model, _Blank(int(base.config.hidden_size)))
        hold_frozen(config, trained)
        model.train()
        with FlopCounterMode(display=False) as counter:
            loss, activations = _kept_bytes(config, model, task, base, shape)
            loss.backward()
        ledger, gradients, optimizer = _later_step(config, trained, task, base, shape)
        parts = MemoryParts(weights=bytes_of(model.parameters()), gradients=gradients, optimizer=optimizer,
                            activations=activations)
    return StepCount(parts=parts, peak_bytes=ledger.peak_bytes, trained_parameters=trained.n_trained,
                     total_parameters=total, stored=stored, flops=config.accumulation * int(counter.get_total_flops()))


def made_up(base: Base, *, n_layers: int | None = None) -> Base:
    """Return a base of the same shape, with as many layers as said, whose models get values that nobody trained."""
    config = copy.deepcopy(base.config)
    if n_layers is not None:
        config.num_hidden_layers = n_layers
        if getattr(config, "layer_types", None):
            config.layer_types = config.layer_types[:n_layers]
    return _MadeUpBase(source=base.source, identity=base.identity, config=config, tokenizer=base.tokenizer)


def shadow_model(config: TrainConfig, base: Base, task: Task, *, n_labels: int) -> TrainedModel:
    """Return the model that a run would train, on the meta device. Raises as `count_step`."""
    try:
        with torch.device("meta"):
            return build_model(config, made_up(base), task, [str(i) for i in range(n_labels)])
    except (NotImplementedError, RuntimeError) as error:
        raise InvalidConfig(f"Method {config.method!r} must see the base's weights before it can begin; what it needs "
                            "cannot be counted ahead.", hint="Estimate method lora of the same rank.") from error


class Ledger(TorchDispatchMode):
    """Counts the bytes of tensors alive while it is on: every storage once, from its first use until it is freed."""

    def __init__(self, known: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.live_bytes = self.peak_bytes = 0
        self._known: set[int] = set()
        for tensor in known:
            self._enter(tensor)

    def begin_step(self) -> None:
        """Let the peak begin anew at what is alive now."""
        self.peak_bytes = self.live_bytes

    def __torch_dispatch__(self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (),
                           kwargs: Mapping[str, Any] | None = None) -> Any:
        """Run one operator and enter what it made."""
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor):
                self._enter(value)
        return result

    def _enter(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size_bytes = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self.live_bytes += size_bytes
            self.peak_bytes = max(self.peak_bytes, self.live_bytes)
            weakref.finalize(storage, self._leave, key, size_bytes)

    def _leave(self, key: int, size_bytes: int) -> None:
        self._known.discard(key)
        self.live_bytes -= size_bytes


class _MadeUpBase(Base):
    """A base whose models are made of its config alone."""

    def load_with_head(self, auto_class: Any, *, n_labels: int) -> PreTrainedModel:
        """Make the base under a fresh head."""
        config = copy.deepcopy(self.config)
        config.num_labels = n_labels
        return self._load(auto_class, config)

    def _load(self, auto_class: Any, config: Any, *, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
        model: PreTrainedModel = auto_class.from_config(config, dtype=dtype)
        return model

    def load_with_lm_head(self, *, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
        """Make the base with its own language-model head; frozen as the real one."""
        auto_class = AutoModelForSeq2SeqLM if self.config.is_encoder_decoder else AutoModelForCausalLM
        return self._frozen(self._load(auto_class, self.config, dtype=dtype))


class _Blank:
    """Remembers nothing: the lower layers' outputs as a shape."""

    def __init__(self, width: int) -> None:
        self.recalled = torch.empty(0)
        self._width = width

    def recall(self, input_ids: torch.Tensor) -> None:
        """Make an empty tensor of the batch's shape."""
        self.recalled = torch.empty(*input_ids.shape, self._width)


def give_fake_values(model: nn.Module) -> None:
    """Put tensors of the mode that is on in the place of those on the meta device, ties kept."""
    made: dict[int, Any] = {}
    for module in model.modules():
        for name, value in [*module._parameters.items(), *module._buffers.items()]:
            if value is None:
                continue
            if id(value) not in made:
                tensor = torch.empty(value.shape, dtype=value.dtype, device="cpu")
                made[id(value)] = (nn.Parameter(tensor, requires_grad=value.requires_grad)
                                   if isinstance(value, nn.Parameter) else tensor)
            (module._parameters if name in module._parameters else module._buffers)[name] = made[id(value)]


def bytes_of(tensors: Iterable[torch.Tensor]) -> int:
    """Return the bytes of tensors, each storage once."""
    return sum({value.untyped_storage()._cdata: value.untyped_storage().nbytes() for value in tensors}.values())


def _later_step(config: TrainConfig, trained: TrainedModel, task: Task, base: Base,
                shape: StepShape) -> tuple[Ledger, int, int]:
    """Take a step after the first, whose gradients are there.

    Return its ledger, and the bytes of gradients and of the optimiser's state.
    """
    model, parameters = trained.model, trained.parameters()
    optimizer = build_optimizer(config, trained)
    ledger = Ledger([*model.parameters(), *model.buffers()])
    with ledger:
        optimizer.step()  # it leaves its state behind
        optimizer.zero_grad()
        ledger.begin_step()
        for _ in range(config.accumulation):
            loss_of(config, model, task, base, shape).backward()
        gradients = bytes_of(value.grad for value in parameters if value.grad is not None)
        torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
    state = [value for entry in optimizer.state.values() for value in entry.values()]
    return ledger, gradients, bytes_of(value for value in state if isinstance(value, torch.Tensor))


def loss_of(config: TrainConfig, model: Any, task: Task, base: Base, shape: StepShape) -> torch.Tensor:
    """Return a number with the graph of a step, where the model lies: for a task that writes, over every token."""
    device = next(model.parameters()).device
    total = torch.zeros((), device=device)
    for _ in range(shape.n_sequences):
        ids = torch.zeros(shape.batch_size, shape.length, dtype=torch.long, device=device)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
        with torch.autocast(device.type, torch.bfloat16, enabled=computes_in_bfloat16(config)):
            if task.writes:
                inputs.pop("token_type_ids")
                decoder = {"decoder_input_ids": ids} if base.config.is_encoder_decoder else {}
                logits = model(**inputs, **decoder, use_cache=False).logits.float()
                total = total + torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids.flatten())
            else:
                total = total + outputs_of(model, task, inputs).float().square().mean()
    return total


def _kept_bytes(config: TrainConfig, model: Any, task: Task, base: Base,
                shape: StepShape) -> tuple[torch.Tensor, int]:
    """Return a step's number, and the bytes that its forward pass keeps for the backward pass, weights not counted."""
    weights = {value.untyped_storage()._cdata for value in (*model.parameters(), *model.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage  # held, so that no later storage gets its number
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = loss_of(config, model, task, base, shape)
    return loss, sum(storage.nbytes() for storage in kept.values())
