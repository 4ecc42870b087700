"""What frozen lower layers give for each sequence: computed once, kept in a file, and put in their place.

Below the lowest trained layer nothing changes from epoch to epoch. So those layers run once over all rows, without
dropout; then they, and the embeddings, leave memory, and every later pass begins at the lowest trained layer. The model
looks the sequences up by their tokens itself, so neither the loop nor the tasks know.
"""

import os
import tempfile
import weakref
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import nn

from adapterhub.bases.processor import has_native_bfloat16
from adapterhub.errors import InvalidConfig
from adapterhub.tasks.batch import by_length
from adapterhub.tasks.task import Example, Task, TokenSequence
from adapterhub.training.forward import compute_outputs_of
from adapterhub.training.methods import TrainedModel
from adapterhub.training.prepare import LoopInputs

BATCH_SIZE = 32
_HINT = "Train without --preset lean or --remember-lower."


def remember_lower(trained: TrainedModel, task: Task, inputs: LoopInputs) -> int:
    """Let a model begin at its lowest trained layer, in place; return how many layers left it, 0 where none could.

    All sequences of `inputs` can be read afterwards, and no others. The rest of the weights is copied, so that the
    file that they were mapped from leaves memory too.
    Raises InvalidConfig for an encoder-decoder base, or sequences that their tokens do not tell apart.
    """
    layers = repeated_layers(trained.model)
    if lowest_trained(layers) == 0:
        return 0
    memory = LowerOutputs(int(trained.model.config.hidden_size), inputs.pad_id)
    _fill(memory, trained.model, task, layers[lowest_trained(layers)], [*inputs.train, *inputs.validation])
    n_gone = leave_out_lower(trained.model, memory)
    for parameter in trained.model.parameters():
        parameter.data = parameter.data.clone()
    return n_gone


def leave_out_lower(model: nn.Module, memory: "Memory") -> int:
    """Take the embeddings and all layers below the lowest trained one out of a model; return how many layers went."""
    layers = repeated_layers(model)
    lowest = lowest_trained(layers)
    model.set_input_embeddings(_Recalled(memory))  # type: ignore[operator]  # every transformers model has it
    for number in range(lowest):
        layers[number] = _PassedBy()
    layers[lowest].register_forward_pre_hook(lambda _, given: (memory.recalled, *given[1:]))
    return lowest


def repeated_layers(model: nn.Module) -> nn.ModuleList:
    """Return the stack of layers that a base repeats. Raises InvalidConfig where it has two, or none."""
    config: Any = model.config
    found = [module for module in model.modules()
             if isinstance(module, nn.ModuleList) and len(module) == config.num_hidden_layers]
    if config.is_encoder_decoder or not found:
        raise InvalidConfig(f"A {config.model_type} base has no single stack of layers whose lower part could stay as "
                            "it is.", hint=_HINT)
    return found[0]


def lowest_trained(layers: nn.ModuleList) -> int:
    """Return the number of the lowest layer with something to train; that of all layers where none has."""
    return next((i for i, layer in enumerate(layers) if any(value.requires_grad for value in layer.parameters())),
                len(layers) - 1)


class Memory(Protocol):
    """What knows the lower layers' outputs."""

    recalled: torch.Tensor
    """[B, T, I] float32, of the batch whose tokens were looked up last."""

    def recall(self, input_ids: torch.Tensor) -> None:
        """Look a batch [B, T] up."""


class LowerOutputs:
    """Outputs of the lower layers, [T, I] bfloat16 for each sequence, in a file without a name, found by its tokens."""

    def __init__(self, width: int, pad_id: int) -> None:
        self.recalled = torch.empty(0)  # [B, T, I] float32, of the batch whose tokens were looked up last
        self.pad_id = pad_id
        self._width = width
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # it lives as long as this object
        weakref.finalize(self, self._file.close)
        self._places: dict[bytes, tuple[int, bytes]] = {}

    def keep(self, sequence: TokenSequence, states: torch.Tensor) -> None:
        """Keep the states [T, I] of a sequence. Raises InvalidConfig where its tokens do not say which it is."""
        tokens, kinds = _key(torch.tensor(sequence.input_ids)), bytes(sequence.token_type_ids)
        known = self._places.get(tokens)
        if sequence.input_ids[-1] == self.pad_id or (known and known[1] != kinds):
            raise InvalidConfig("The rows hold sequences that end in padding, or that differ in their parts only; what "
                                "lower layers give for them cannot be remembered.", hint=_HINT)
        if known is None:
            self._places[tokens] = (self._file.tell(), kinds)
            self._file.write(states.to(torch.bfloat16).contiguous().view(torch.uint8).numpy().tobytes())

    def recall(self, input_ids: torch.Tensor) -> None:
        """Read the states of a batch [B, T], padded on the right, from the file."""
        self._file.flush()
        n_rows, longest = input_ids.shape
        states = torch.zeros(n_rows, longest, self._width, dtype=torch.bfloat16)
        lengths = (input_ids != self.pad_id).int() * torch.arange(1, longest + 1, device=input_ids.device)
        for row, length in enumerate(lengths.amax(dim=1).tolist()):
            place, _ = self._places[_key(input_ids[row, :length])]
            data = os.pread(self._file.fileno(), 2 * length * self._width, place)
            states[row, :length] = torch.frombuffer(bytearray(data), dtype=torch.bfloat16).view(length, self._width)
        self.recalled = states.to(input_ids.device).float()


class _Recalled(nn.Module):
    """In the place of the word embeddings: looks the batch up, and gives zeros that the layers above never see."""

    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self._memory = memory

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Return zeros [B, T, I]."""
        self._memory.recall(input_ids)
        return torch.zeros_like(self._memory.recalled)


class _PassedBy(nn.Module):
    """In the place of a lower layer: gives back what it is given."""

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Return the first argument."""
        return hidden_states


class _Reached(Exception):
    """Ends a pass at the lowest trained layer."""

    def __init__(self, states: torch.Tensor) -> None:
        super().__init__()
        self.states = states  # [B, T, I]


def _fill(memory: LowerOutputs, model: nn.Module, task: Task, lowest: nn.Module,
          examples: Sequence[Example]) -> None:
    """Run everything below a layer over all sequences, in evaluation mode."""
    def stop(_: nn.Module, given: tuple[Any, ...]) -> None:
        raise _Reached(given[0])

    model.eval()
    device = next(model.parameters()).device
    sequences = [sequence for example in examples for sequence in example.sequences]
    hook = lowest.register_forward_pre_hook(stop)
    try:
        for batch in by_length([len(sequence.input_ids) for sequence in sequences], BATCH_SIZE):
            with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=has_native_bfloat16()):
                try:
                    compute_outputs_of(model, task, [sequences[i] for i in batch], memory.pad_id, device)
                except _Reached as reached:
                    for i, states in zip(batch, reached.states.float().cpu(), strict=True):
                        memory.keep(sequences[i], states[:len(sequences[i].input_ids)])
    finally:
        hook.remove()


def _key(input_ids: torch.Tensor) -> bytes:
    return input_ids.to("cpu", torch.int32).numpy().tobytes()
