"""Every greedy row is what transformers generates with the PEFT model for that row alone, whatever is in flight."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from generation_bed import Bed
from language_models import FAMILIES, MAX_POSITIONS, WINDOW, Recipe, stock_lm, stock_tokens, write_lora

from adapterhub.bases.load import load_base
from adapterhub.registry import Registry
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.generation.engine import Generator
from adapterhub.runtime.generation.row import Generated
from adapterhub.runtime.generation.settings import GenerationSettings, GeneratorConfig
from adapterhub.settings import Settings

REFERENCES = ("t/two", None, "t/dora", "t/eight", "t/two", "t/attention", "t/dora", None)
TEXTS = ("a", "where is my card", "soup of the day, please: ", "x y z " * 5)


def settings(n_new: int) -> GenerationSettings:
    return GenerationSettings(max_new_tokens=n_new)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", [0, 1])
def test_rows_that_join_and_leave_at_random_equal_stock_peft(family: str, seed: int,
                                                             bed_of: Callable[[str], Bed]) -> None:
    bed, chance = bed_of(family), random.Random(seed)
    generator = bed.generator(max_rows=5)
    rows = [(reference, chance.choice(TEXTS), chance.randint(1, 26)) for reference in REFERENCES]
    chance.shuffle(rows)
    streams = []
    for reference, text, n_new in rows:
        streams.append(generator.submit(reference, text, settings(n_new)))
        for _ in range(chance.randint(0, 6)):
            generator.step()
    answers = [stream.result() for stream in streams]
    expected = [bed.stock(*row) for row in rows]
    assert [answer.tokens for answer in answers] == expected
    assert len({tuple(tokens[:8]) for tokens in expected}) > 3  # the adapters do change what is written
    assert generator.statistics().cache_bytes == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_change_what_the_base_writes(family: str, bed_of: Callable[[str], Bed]) -> None:
    bed = bed_of(family)
    written = {tuple(bed.stock(reference, "soup of the day", 12)) for reference in (None, *bed.adapters)}
    assert len(written) == 5


def test_row_alone_equals_its_row_in_a_crowd(llama: Bed) -> None:
    generator = llama.generator()
    alone = generator.generate([("t/eight", "where is my card", settings(20))])[0]
    crowd = [(reference, text, settings(7 + 3 * i)) for i, (reference, text) in enumerate(zip(REFERENCES, TEXTS * 2,
                                                                                              strict=True))]
    among = generator.generate([*crowd, ("t/eight", "where is my card", settings(20)), *crowd])[len(crowd)]
    assert alone == among
    assert isinstance(alone, Generated)
    assert (alone.version, alone.finish_reason) == ("t/eight@1", "length")


def test_rows_beyond_the_sliding_window_equal_stock_peft(bed_of: Callable[[str], Bed]) -> None:
    bed = bed_of("mistral")
    rows = [("t/eight", "a" * (3 * WINDOW), 2 * WINDOW), ("t/two", "b", 4 * WINDOW), (None, "c" * WINDOW, WINDOW)]
    found = bed.generator().generate([(reference, text, settings(n)) for reference, text, n in rows])
    assert [row.tokens for row in found if isinstance(row, Generated)] == [bed.stock(*row) for row in rows]


def test_the_window_is_felt_beyond_its_length(bed_of: Callable[[str], Bed]) -> None:
    bed = bed_of("mistral")
    model = stock_lm(bed.base.source.folder, None)
    model.config.sliding_window = MAX_POSITIONS
    assert stock_tokens(model, bed.tokens("a" * 30), 30) != bed.stock(None, "a" * 30, 30)


def test_packed_weights_write_the_same(llama: Bed) -> None:
    rows = [(reference, "my trip to oslo", settings(16)) for reference in (None, "t/eight", "t/dora")]
    packed = llama.generator(is_packed=True).generate(rows)
    assert [row.tokens for row in packed if isinstance(row, Generated)] == [
        llama.stock(reference, text, 16) for reference, text, _ in rows]


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_writes_in_every_family(family: str, bed_of: Callable[[str], Bed]) -> None:
    bed = bed_of(family)
    answers = bed.generator(dtype="bfloat16").generate([(reference, "my card", settings(9))
                                                        for reference in (None, "t/eight", "t/dora")])
    # at most nine: a family may write its end of text before
    assert all(isinstance(answer, Generated) and 0 < len(answer.tokens) <= 9 for answer in answers), answers


@pytest.mark.parametrize("name", ["stories260K", "babyllama-tok105"])
def test_real_models_write_their_stories_with_adapters(name: str, tmp_path: Path) -> None:
    data = Settings.from_environment().data
    folder = None if data is None else data / "models" / name
    if folder is None or not folder.is_dir():
        pytest.skip(f"no model {name} below ADAPTERHUB_DATA")
    place = Settings(registry=str(tmp_path / "r"), cache=tmp_path / "cache", data=None, shipped_registry=None)
    base, registry = load_base(str(folder), cache=place.cache), Registry(tmp_path / "r")
    folders: dict[str | None, Path | None] = {None: None}
    for rank in (2, 8):
        folders[f"t/rank{rank}"] = write_lora(tmp_path / str(rank), base, Recipe(rank=rank, seed=rank,
                                                                                 targets=("q_proj", "v_proj")))
        registry.publish(tmp_path / str(rank), f"t/rank{rank}")
    generator = Generator(base, registry, settings=place)
    text = "Once upon a time, there was a little girl"
    answers = generator.generate([(reference, text, settings(n)) for reference in folders for n in (40, 25)])
    for answer, (reference, n) in zip(answers, [(r, n) for r in folders for n in (40, 25)], strict=True):
        assert isinstance(answer, Generated), answer
        ids = list(base.tokenizer(text).input_ids)
        assert answer.tokens == stock_tokens(stock_lm(folder, folders[reference]), ids, n)
    bare = answers[0]
    assert isinstance(bare, Generated)
    assert set(bare.text.lower()) <= set("abcdefghijklmnopqrstuvwxyz .,'\"!?\n-")


def test_default_numbers_are_float32_and_plain() -> None:
    assert GeneratorConfig().runtime == RuntimeConfig(dtype="float32", is_packed=False)
    assert torch.get_default_dtype() == torch.float32
