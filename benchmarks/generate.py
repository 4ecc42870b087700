"""What 16 adapters in one batch cost while text is written, beside the bare base and PEFT taking adapters in turn.

Targets hold for adapters on `q_proj` and `v_proj`, PEFT's own choice for Llama.

One thread computes, and its processor's seconds are counted: what other programs take meanwhile is nobody's.

What bounds adapters on all seven linear layers, and why. A step computes one token per row: it reads each adapter's A
and B once and multiplies each number once, so their bytes decide. 16 of rank 8 in float32 have 3.0 MB, beside the 1.0
MB of stories260K's own weights; 6.0 MB beside 3.7 MB of babyllama-tok105's. On a busy machine summing all A and B, with
no product made, took 0.4 of 2.5 ms and 0.6 of 3.7 ms a step, which alone leaves 0.85 of the bare base's speed; the 70
calls, two for each layer, of some five microseconds cost as much again. Tried, and left out: A and B copied side by
side in the order of the layers, and one A for the layers of one input (q, k and v; gate and up), gave 0.00 to 0.06
more, huge pages 0.01 more; one dense product with all rows' A, of which each row takes its own part, was slower. Bases
whose layers are wider than the rows' ranks together read more for themselves than for adapters.
"""

import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from adapterhub.bases.load import Base, load_base
from adapterhub.registry import Registry
from adapterhub.runtime.generation.engine import Generator
from adapterhub.runtime.generation.row import Generated
from adapterhub.runtime.generation.settings import GenerationSettings
from adapterhub.settings import Settings
from benchmarks.adapters_made import scratch_folder
from benchmarks.alternation import Seconds, alternate, ratio_figure
from benchmarks.language_adapters import language_models, write_language_adapters
from benchmarks.report import Figure, Options, median_figure, run

N_ROWS = 16
RANK = 8
N_TOKENS = 64
TARGETS = {"q and v": ("q_proj", "v_proj"),
           "all linear": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")}
HEADLINE = "q and v"
LEAST_OF_BARE = 0.85
LEAST_OVER_PEFT = 3.0
PROMPTS = ("Once upon a time, there was a little girl", "The dog ran to the big tree", "Tom and his mom went home")


def measure(options: Options) -> list[Figure]:
    """16 rows with 16 adapters: tokens per second beside the bare base and beside PEFT taking adapters in turn."""
    torch.set_num_threads(1)
    with scratch_folder() as place:
        return [figure for name, folder in language_models(place).items()
                for figure in _measure_model(name, folder, place / name, options)]


def _measure_model(name: str, folder: Path, place: Path, options: Options) -> list[Figure]:
    base = load_base(str(folder), cache=place / "cache")
    registry = Registry(place / "registry")
    folders = {kind: write_language_adapters(place / kind, base, targets, rank=RANK, count=N_ROWS)
               for kind, targets in TARGETS.items()}
    references = {kind: [registry.publish(each, f"{kind.replace(' ', '-')}/{each.name}").reference for each in made]
                  for kind, made in folders.items()}
    settings = Settings(registry=str(place / "registry"), cache=place / "cache", data=None, shipped_registry=None)
    generator = Generator(base, registry, settings=settings)
    stock = _Stock(base, folders[HEADLINE])
    n_rows_of_peft = 4 if options.is_quick else N_ROWS
    contenders: dict[str, Callable[[], object]] = {
        "bare": partial(_write, generator, [None] * N_ROWS), "transformers": stock.write_bare_batch,
        **{kind: partial(_write, generator, own) for kind, own in references.items()},
        "PEFT": partial(stock.write_in_turn, n_rows_of_peft)}
    seconds = alternate(contenders, n_rounds=9 if options.is_quick else 20, clock=time.process_time)
    n_equal = _n_equal(generator, references[HEADLINE], stock)
    generator.close()
    return [*_speeds(name, seconds, n_rows_of_peft),
            Figure(name=f"rows equal to PEFT's, token for token: {name}", value=n_equal, unit=f"of {N_ROWS}",
                   at_least=N_ROWS)]


def _speeds(name: str, seconds: Seconds, n_rows_of_peft: int) -> list[Figure]:
    speeds = {kind: [(n_rows_of_peft if kind == "PEFT" else N_ROWS) * N_TOKENS / each for each in own]
              for kind, own in seconds.items()}
    figures = [median_figure(f"{kind}: {name}", own, "tokens/s") for kind, own in speeds.items()]
    for kind in TARGETS:
        is_headline = kind == HEADLINE
        figures.append(ratio_figure(f"16 adapters ({kind}) over none: {name}", speeds[kind], speeds["bare"],
                                    at_least=LEAST_OF_BARE if is_headline else None))
        figures.append(ratio_figure(f"16 adapters ({kind}) over transformers' batch without any: {name}",
                                    speeds[kind], speeds["transformers"]))
    return [*figures, ratio_figure(f"16 adapters over PEFT in turn: {name}", speeds[HEADLINE], speeds["PEFT"],
                                   at_least=LEAST_OVER_PEFT)]


def _write(generator: Generator, references: Sequence[str | None]) -> list[list[int]]:
    settings = GenerationSettings(max_new_tokens=N_TOKENS, stops_at_eos=False)
    answers = generator.generate([(reference, _prompt(i), settings) for i, reference in enumerate(references)])
    assert all(isinstance(answer, Generated) for answer in answers), answers
    return [answer.tokens for answer in answers if isinstance(answer, Generated)]


def _n_equal(generator: Generator, references: Sequence[str], stock: "_Stock") -> int:
    ours, theirs = _write(generator, references), stock.write_in_turn(N_ROWS)
    return sum(own == other for own, other in zip(ours, theirs, strict=True))


def _prompt(row: int) -> str:
    return PROMPTS[row % len(PROMPTS)]


class _Stock:
    """Stock transformers and PEFT: the bare base on the whole batch, and adapters in turn, row by row."""

    def __init__(self, base: Base, folders: Sequence[Path]) -> None:
        self._tokenizer = base.tokenizer
        self._bare: Any = _endless(base)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a property that transformers renamed
            self._peft = PeftModel.from_pretrained(_endless(base), str(folders[0]), adapter_name="0").eval()
            for i, folder in enumerate(folders[1:], start=1):
                self._peft.load_adapter(str(folder), adapter_name=str(i))

    def write_bare_batch(self) -> None:
        """Write all rows in one batch, without adapters."""
        self._generate(self._bare, [_prompt(row) for row in range(N_ROWS)])

    def write_in_turn(self, n_rows: int) -> list[list[int]]:
        """Write row after row, each after its adapter was made the active one."""
        written = []
        for row in range(n_rows):
            self._peft.set_adapter(str(row))
            written += self._generate(self._peft, [_prompt(row)])
        return written

    def _generate(self, model: Any, prompts: list[str]) -> list[list[int]]:
        inputs = self._tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left")
        tokens: torch.Tensor = model.generate(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"],
                                              do_sample=False, max_new_tokens=N_TOKENS, pad_token_id=0)
        width = inputs["input_ids"].shape[1]
        return [[int(token) for token in row[width:]] for row in tokens]


def _endless(base: Base) -> Any:
    """Load a model that writes on behind its end of text, so that all write the same number of tokens."""
    model: Any = base.load_with_lm_head()
    model.generation_config.eos_token_id = None
    return model


if __name__ == "__main__":
    run("generate", measure)
