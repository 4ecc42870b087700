"""One contender of benchmarks/together.py, in a process of its own, by the protocol of adapterhub/costs/arm.py.

Several LoRA adapters, each with a head of its own number of labels, on one frozen base: through PEFT, or with the
adapters' matrices stacked, so that one batched product meets all of them.
"""

import json
import statistics
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psutil
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from adapterhub.bases.load import Base
from adapterhub.bases.processor import has_native_bfloat16
from adapterhub.costs.allocator import forget_peak, give_memory_back, keep_memory, peak_above
from adapterhub.costs.arm import import_ahead, own_channel, wait_for_turn
from benchmarks.adapters_made import ALL_LINEAR, embedded_base

STACKED, MIXED, IN_TURN = "stacked", "mixed", "in turn"
WARM_UP_STEPS = 2
RANK, SCALING, FEWEST_LABELS, LEARNING_RATE = 8, 2.0, 5, 2e-3
Batch = tuple[torch.Tensor, torch.Tensor]
"""Tokens [N, T] and labels [N] of one adapter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a contender trains, and how."""

    way: str
    """`STACKED` or `MIXED`: all adapters' rows are one batch, by stacked matrices or by PEFT; `IN_TURN`: each adapter's
    rows take a pass of their own, by PEFT."""
    n_adapters: int
    n_rows: int
    """Of each adapter in a step."""
    length: int
    """Tokens of each row."""
    n_steps: int
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


class InPeft(nn.Module):
    """Adapters on one base by PEFT, each with its head."""

    def __init__(self, base: Base, n_adapters: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=list(ALL_LINEAR))
        self.trunk: PeftModel = get_peft_model(base.load_trunk(), config, adapter_name="0")
        for number in range(1, n_adapters):
            self.trunk.add_adapter(str(number), config)
        self.trunk.base_model.set_adapter([str(number) for number in range(n_adapters)])
        self.heads = heads_of(base, n_adapters)
        self.eval()  # PEFT takes mixed batches in this mode alone; nothing is dropped out in the other either

    def loss_together(self, batches: Sequence[Batch]) -> torch.Tensor:
        """Return the sum of the adapters' losses from one pass."""
        names = [str(number) for number, (ids, _) in enumerate(batches) for _ in range(len(ids))]
        hidden = self.trunk(input_ids=torch.cat([ids for ids, _ in batches]), adapter_names=names).last_hidden_state
        return summed_losses(self.heads, hidden, batches)

    def loss_of(self, number: int, batch: Batch) -> torch.Tensor:
        """Return one adapter's loss from a pass of its own."""
        self.trunk.base_model.set_adapter(str(number))
        hidden = self.trunk(input_ids=batch[0]).last_hidden_state
        return summed_losses(self.heads[number:number + 1], hidden, [batch])


class InStacks(nn.Module):
    """Adapters on one base, of one rank and with equally many rows in a batch, each with its head."""

    def __init__(self, base: Base, n_adapters: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.trunk = base.load_trunk()
        for name in ALL_LINEAR:
            for path, module in list(self.trunk.named_modules()):
                if path.endswith(f".{name}") and isinstance(module, nn.Linear):
                    self.trunk.set_submodule(path, StackedLinear(module, n_adapters))
        self.heads = heads_of(base, n_adapters)
        self.eval()

    def loss_together(self, batches: Sequence[Batch]) -> torch.Tensor:
        """Return the sum of the adapters' losses from one pass."""
        hidden = self.trunk(input_ids=torch.cat([ids for ids, _ in batches])).last_hidden_state
        return summed_losses(self.heads, hidden, batches)


class StackedLinear(nn.Module):
    """A frozen linear layer, I to O, under K adapters whose rows follow one another, equally many of each."""

    def __init__(self, linear: nn.Linear, n_adapters: int) -> None:
        super().__init__()
        self.linear = linear
        n_out, n_in = linear.weight.shape
        self.A = nn.Parameter(torch.empty(n_adapters, n_in, RANK).uniform_(-1, 1) / n_in ** 0.5)  # [K, I, R]
        self.B = nn.Parameter(torch.zeros(n_adapters, RANK, n_out))  # [K, R, O]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return [N, T, O] of x [N, T, I]."""
        y: torch.Tensor = self.linear(x)
        delta = torch.bmm(torch.bmm(x.reshape(len(self.A), -1, x.shape[-1]), self.A), self.B)
        return y + SCALING * delta.view_as(y)


def heads_of(base: Base, n_adapters: int) -> nn.ModuleList:
    """Return a head for each adapter, no two with equally many labels."""
    width = int(base.config.hidden_size)
    return nn.ModuleList(nn.Linear(width, FEWEST_LABELS + number) for number in range(n_adapters))


def summed_losses(heads: nn.ModuleList, hidden: torch.Tensor, batches: Sequence[Batch]) -> torch.Tensor:
    """Return the sum of each head's loss on its rows of hidden [N, T, I]."""
    parts = hidden.mean(dim=1).split([len(ids) for ids, _ in batches])
    return torch.stack([nn.functional.cross_entropy(head(part).float(), labels)
                        for head, part, (_, labels) in zip(heads, parts, batches, strict=True)]).sum()


def drawn_batches(setting: Setting, vocab_size: int, step: int) -> list[Batch]:
    """Return each adapter's rows and labels of a step."""
    random = torch.Generator().manual_seed(1000 * setting.seed + step)
    return [(torch.randint(1000, vocab_size, (setting.n_rows, setting.length), generator=random),
             torch.randint(FEWEST_LABELS, (setting.n_rows,), generator=random)) for _ in range(setting.n_adapters)]


def take_step(model: InPeft | InStacks, optimizer: torch.optim.Optimizer, batches: Sequence[Batch],
              way: str) -> None:
    """Let every adapter take one step on its batch."""
    with torch.autocast("cpu", torch.bfloat16, enabled=has_native_bfloat16()):
        if way == IN_TURN:
            assert isinstance(model, InPeft), "stacks have no passes of their own"
            for number, batch in enumerate(batches):
                model.loss_of(number, batch).backward()
        else:
            model.loss_together(batches).backward()
    optimizer.step()
    optimizer.zero_grad()


def trained(model: nn.Module) -> list[nn.Parameter]:
    """Return what is trained."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def main() -> None:
    """Train as the first line says, a step for each further line, and print the figures last."""
    warnings.simplefilter("ignore")
    say = own_channel()
    setting = Setting(**json.loads(sys.stdin.readline()))
    import_ahead()
    give_memory_back()
    start = psutil.Process().memory_info().rss
    forget_peak()
    base = embedded_base()
    kind = InStacks if setting.way == STACKED else InPeft
    model = kind(base, setting.n_adapters, setting.seed)
    optimizer = torch.optim.AdamW(trained(model), lr=LEARNING_RATE)
    say({"n_steps": setting.n_steps})
    seconds, peak = [], 0
    for step in range(setting.n_steps):
        wait_for_turn()
        begun = time.process_time()
        take_step(model, optimizer, drawn_batches(setting, int(base.config.vocab_size), step), setting.way)
        seconds.append(time.process_time() - begun)
        if step == WARM_UP_STEPS:
            peak = peak_above(start)
            keep_memory()
        say({"step": step + 1})
    wait_for_turn()
    say({"figures": {"seconds": statistics.median(seconds[WARM_UP_STEPS + 1:]), "bytes": peak}})


if __name__ == "__main__":
    main()
