"""How tokens are chosen and where rows end: settings, seeds, stop conditions, text pieces."""

import re
from typing import Any

import pytest
import torch
from generation_bed import Bed
from language_models import EOS

from adapterhub.errors import InvalidConfig
from adapterhub.runtime.generation.engine import Generator
from adapterhub.runtime.generation.row import Generated
from adapterhub.runtime.generation.settings import GenerationSettings, GeneratorConfig
from adapterhub.runtime.generation.text import TextPieces

DRAWN = GenerationSettings(max_new_tokens=18, temperature=1.3, top_k=20, top_p=0.9, seed=7)


def write(generator: Generator, text: str, reference: str | None = "t/eight", **settings: Any) -> Generated:
    answer = generator.generate([(reference, text, GenerationSettings(**settings))])[0]
    assert isinstance(answer, Generated), answer
    return answer


def test_seeded_draws_do_not_depend_on_the_crowd(llama: Bed) -> None:
    generator = llama.generator()
    asked = ("t/eight", "my card", DRAWN)
    others = [(reference, "soup", GenerationSettings(max_new_tokens=5 + i, temperature=0.8, seed=i))
              for i, reference in enumerate(("t/two", None, "t/dora"))]
    alone, again = generator.generate([asked])[0], generator.generate([*others, asked, *others])[3]
    other_seed = generator.generate([("t/eight", "my card", GenerationSettings(max_new_tokens=18, temperature=1.3,
                                                                               top_k=20, top_p=0.9, seed=8))])[0]
    assert alone == again
    assert isinstance(alone, Generated)
    assert isinstance(other_seed, Generated)
    assert alone.tokens != other_seed.tokens


def test_draws_are_those_of_transformers_with_the_same_seed(llama: Bed) -> None:
    found = llama.generator().generate([("t/eight", "my card", DRAWN)])[0]
    llama.stock("t/eight", "my card", 1)  # loaded before the seed is set: loading draws too
    torch.manual_seed(DRAWN.seed)
    expected = llama.stock("t/eight", "my card", 18, do_sample=True, temperature=1.3, top_k=20, top_p=0.9)
    assert isinstance(found, Generated)
    assert found.tokens == expected


def test_repetition_penalty_is_that_of_transformers(llama: Bed) -> None:
    found = write(llama.generator(), "aaaa bbbb", max_new_tokens=20, repetition_penalty=1.7).tokens
    assert found == llama.stock("t/eight", "aaaa bbbb", 20, repetition_penalty=1.7)
    assert found != llama.stock("t/eight", "aaaa bbbb", 20)


def test_stop_token_ends_the_row_and_is_no_text(llama: Bed) -> None:
    generator = llama.generator()
    free = write(generator, "my card", max_new_tokens=20)
    stop = free.tokens[6]
    ended = write(generator, "my card", max_new_tokens=20, stop_token_ids=(stop,))
    first = free.tokens.index(stop)
    assert ended.tokens == free.tokens[:first + 1]
    assert ended.text == llama.base.tokenizer.decode(free.tokens[:first], skip_special_tokens=True)
    assert (free.finish_reason, ended.finish_reason) == ("length", "stop")


def test_end_of_text_of_the_base_ends_a_row_unless_told_otherwise(llama: Bed) -> None:
    generator = llama.generator()
    eos = write(generator, "my card", max_new_tokens=12).tokens[4]
    generator._requests._eos = frozenset({eos})
    ended = write(generator, "my card", max_new_tokens=12)
    assert ended.tokens[-1] == eos
    assert ended.finish_reason == "stop"
    assert len(write(generator, "my card", max_new_tokens=12, stops_at_eos=False).tokens) == 12


def test_end_of_text_is_read_from_the_bases_generation_config(llama: Bed) -> None:
    assert llama.generator()._requests._eos == {EOS}


def test_stop_string_cuts_the_text_and_ends_the_row(llama: Bed) -> None:
    generator = llama.generator()
    free = write(generator, "where is", max_new_tokens=24, reference="t/two")
    stop = free.text[5:8]
    ended = write(generator, "where is", max_new_tokens=24, reference="t/two", stop_strings=("never there", stop))
    assert ended.text == free.text[:free.text.index(stop)]
    assert ended.tokens == free.tokens[:len(ended.tokens)]
    assert ended.finish_reason == "stop"
    assert len(ended.tokens) < len(free.tokens)


def test_streamed_pieces_are_the_text(llama: Bed) -> None:
    generator = llama.generator()
    stream = generator.submit("t/dora", "my trip", GenerationSettings(max_new_tokens=20, stop_strings=("zzzzzz",)))
    pieces = list(stream)
    answer = stream.result()
    assert [piece.token for piece in pieces] == answer.tokens
    assert "".join(piece.text for piece in pieces) == answer.text
    assert answer.text == llama.base.tokenizer.decode(answer.tokens, skip_special_tokens=True)


def test_pieces_hold_back_half_characters_and_half_stop_strings(llama: Bed) -> None:
    tokens = llama.tokens("aé#b##c")[1:]
    pieces = TextPieces(llama.base.tokenizer, ("###",))
    given = [pieces.add(token) for token in tokens]
    assert given == ["a", "", "é", "", "#b", "", "", "##c"]
    assert pieces.finish() == ""


def test_character_that_never_becomes_whole_comes_at_the_end(llama: Bed) -> None:
    tokens = llama.tokens("aé")[1:-1]
    pieces = TextPieces(llama.base.tokenizer, ())
    given = "".join(pieces.add(token) for token in tokens)
    assert given + pieces.finish() == llama.base.tokenizer.decode(tokens)


def test_text_before_the_first_of_two_stop_strings_is_given(llama: Bed) -> None:
    pieces = TextPieces(llama.base.tokenizer, ("cd", "bcde"))
    assert "".join(pieces.add(token) for token in llama.tokens("abcd")[1:]) == "ab"
    assert pieces.is_stopped


@pytest.mark.parametrize(("field", "value"), [
    ("max_new_tokens", 0), ("temperature", -0.1), ("temperature", float("nan")), ("top_k", -1), ("top_p", 0),
    ("top_p", 1.5), ("repetition_penalty", 0), ("stop_strings", ("",)), ("stop_strings", "###")])
def test_setting_out_of_range_is_refused_with_its_value(field: str, value: Any) -> None:
    with pytest.raises(InvalidConfig, match=re.escape(f"{field} is {value!r}")):
        GenerationSettings(**{field: value})


@pytest.mark.parametrize("field", ["cache_bytes", "max_rows"])
def test_generator_without_room_is_refused(field: str) -> None:
    with pytest.raises(InvalidConfig, match=f"{field} is 0"):
        GeneratorConfig(**{field: 0})
