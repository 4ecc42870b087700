"""Failures that other servers had while they wrote text with many adapters, each by its issue: none of them here."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from adapter_folders import listed_anew
from generation_bed import Bed
from language_models import Recipe, stock_lm, stock_tokens, write_lora
from safetensors.torch import load_file, save_file

from adapterhub.errors import AdapterHubError
from adapterhub.registry import Registry
from adapterhub.runtime.generation.engine import Generator
from adapterhub.runtime.generation.row import Generated
from adapterhub.runtime.generation.settings import GenerationSettings, GeneratorConfig

PROMPT = "where is my card"
NAMES = ("t/two", "t/eight", "t/dora", "t/attention")


def settings(n_new: int) -> GenerationSettings:
    return GenerationSettings(max_new_tokens=n_new)


def tokens_of(answers: Sequence[object]) -> list[list[int]]:
    return [answer.tokens for answer in answers if isinstance(answer, Generated)]


def own_registry(place: Path, bed: Bed, **recipes: Recipe) -> tuple[Registry, dict[str, Path]]:
    """Publish fresh adapters `t/NAME`, and return their folders too."""
    registry, folders = Registry(place / "registry"), {}
    for name, recipe in recipes.items():
        folders[name] = write_lora(place / name, bed.base, recipe)
        registry.publish(folders[name], f"t/{name}")
    return registry, folders


def stock(bed: Bed, folder: Path, n_new: int) -> list[int]:
    return stock_tokens(stock_lm(bed.base.source.folder, folder), bed.tokens(PROMPT), n_new)


def test_row_in_flight_keeps_its_adapter_while_others_load_and_leave(llama: Bed) -> None:
    """vllm#47724: after an adapter was added at run time, a row in flight went on with another user's adapter."""
    generator = llama.generator(max_slots=2)
    long = generator.submit("t/two", PROMPT, settings(30))
    next(long)
    for name in NAMES[1:]:
        answer = generator.submit(name, PROMPT, settings(4)).result()
        assert answer.tokens == llama.stock(name, PROMPT, 4)
    assert generator.statistics().n_evictions >= 2
    assert long.result().tokens == llama.stock("t/two", PROMPT, 30)


def test_prompt_read_before_a_reload_is_read_anew_after_it(llama: Bed, tmp_path: Path) -> None:
    """vllm#42125, #30931: after a reload under the same name, keys and values of the old weights were used."""
    registry, folders = own_registry(tmp_path, llama, moves=Recipe(seed=31))
    generator = Generator(llama.base, registry, settings=llama.settings)
    before = generator.generate([("t/moves", PROMPT, settings(12))])
    new = write_lora(tmp_path / "new", llama.base, Recipe(seed=32))
    registry.publish(new, "t/moves")
    after = generator.generate([("t/moves", PROMPT, settings(12))])
    expected = [stock(llama, folders["moves"], 12), stock(llama, new, 12)]
    assert tokens_of([*before, *after]) == expected
    assert expected[0] != expected[1]


@pytest.mark.parametrize("is_together", [True, False])
def test_one_prompt_under_several_adapters_shares_no_keys(llama: Bed, *, is_together: bool) -> None:
    """llama.cpp#26207: keys and values of a prompt were used again for a request with another LoRA."""
    generator = llama.generator()
    rows = [(name, PROMPT, settings(14)) for name in (*NAMES, None, *NAMES)]
    answers = generator.generate(rows) if is_together else [generator.generate([row])[0] for row in rows]
    assert tokens_of(answers) == [llama.stock(name, PROMPT, 14) for name, _, _ in rows]


def test_slot_taken_over_holds_nothing_of_who_left(llama: Bed, tmp_path: Path) -> None:
    """sglang#7426: eviction left the weights of modules that the next adapter does not have in the buffer."""
    registry, folders = own_registry(tmp_path, llama, wide=Recipe(rank=8, seed=41), narrow=Recipe(rank=5, seed=42),
                                     few=Recipe(rank=5, seed=43, targets=("q_proj",)))
    config = GeneratorConfig(runtime=llama.generator(max_slots=1).config.runtime)
    generator = Generator(llama.base, registry, config=config, settings=llama.settings)
    names = ("wide", "narrow", "few", "wide", "few", "narrow")
    answers = [generator.generate([(f"t/{name}", PROMPT, settings(10))])[0] for name in names]
    assert tokens_of(answers) == [stock(llama, folders[name], 10) for name in names]
    assert tokens_of(generator.generate([(None, PROMPT, settings(10))])) == [llama.stock(None, PROMPT, 10)]


def test_as_many_adapters_as_slots_and_a_bare_row_run_together(llama: Bed) -> None:
    """sglang#23141: N adapters in N slots with one row of the base ended the scheduler."""
    generator = llama.generator(max_slots=len(NAMES))
    for name in NAMES:
        generator.load(name)
    streams = [generator.submit(name, PROMPT, settings(8)) for name in (*NAMES, None)]
    generator.step()
    assert generator.statistics().n_running == len(NAMES) + 1
    assert [stream.result().tokens for stream in streams] == [llama.stock(name, PROMPT, 8) for name in (*NAMES, None)]


def test_adapter_is_not_starved_by_a_stream_of_another(llama: Bed) -> None:
    """sglang#15129, vllm#16876: B was never scheduled behind a stream of A."""
    generator = llama.generator(max_slots=1, max_rows=2, max_age_s=0)
    for name in ("t/eight", "t/two"):  # both at hand in host memory, the second in the slot
        generator.load(name)
    streams = [generator.submit("t/two", PROMPT, settings(n)) for n in (3, 6)]  # so that one is always in flight
    generator.step()
    starved = generator.submit("t/eight", PROMPT, settings(4))
    for _ in range(60):
        if starved.is_done:
            break
        streams.append(generator.submit("t/two", PROMPT, settings(8)))
        generator.step()
    assert starved.is_done
    assert starved.result().tokens == llama.stock("t/eight", PROMPT, 4)


def test_every_row_of_a_mixture_is_what_it_is_alone(llama: Bed) -> None:
    """sglang#28371, #5928, #4739: rows of the base, or of other adapters, were wrong in a mixed batch."""
    names = (None, "t/two", None, "t/eight", "t/eight", "t/attention", "t/two", None, "t/dora")
    generator = llama.generator()
    rows = [(name, PROMPT + "!" * i, settings(6 + i % 3)) for i, name in enumerate(names)]
    assert tokens_of(generator.generate(rows)) == [llama.stock(name, text, chosen.max_new_tokens)
                                                   for name, text, chosen in rows]


def test_adapter_that_matches_no_layer_is_an_error_and_no_answer_of_the_base(llama: Bed, tmp_path: Path) -> None:
    """vllm#34186: no name matched, and 200 OK came back with what the bare base had written."""
    folder = write_lora(tmp_path / "stray", llama.base, Recipe(targets=("q_proj",)))
    weights = folder / "adapter_model.safetensors"
    save_file({name.replace("q_proj", "query"): value for name, value in load_file(weights).items()}, weights)
    config = (folder / "adapter_config.json").read_text()
    (folder / "adapter_config.json").write_text(config.replace("q_proj", "query"))
    listed_anew(folder)
    stream = llama.generator().submit(str(folder), PROMPT, settings(4))
    with pytest.raises(AdapterHubError, match="query"):
        stream.result()


def test_replacing_an_adapter_leaves_one_whose_name_begins_alike(llama: Bed, tmp_path: Path) -> None:
    """peft#3780: swapping `foo` zeroed `foobar`."""
    registry, folders = own_registry(tmp_path, llama, foo=Recipe(seed=51), foobar=Recipe(seed=52))
    generator = Generator(llama.base, registry, settings=llama.settings)
    rows = [("t/foo", PROMPT, settings(10)), ("t/foobar", PROMPT, settings(10))]
    generator.generate(rows)
    new = write_lora(tmp_path / "new", llama.base, Recipe(seed=53))
    registry.publish(new, "t/foo")
    assert tokens_of(generator.generate(rows)) == [stock(llama, new, 10), stock(llama, folders["foobar"], 10)]
