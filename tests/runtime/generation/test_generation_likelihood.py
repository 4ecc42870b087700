"""Log-probabilities of new tokens: those of the stock model's own logits, and nothing else changes by them."""

import pytest
import torch
from generation_bed import Bed

from adapterhub.errors import InvalidConfig
from adapterhub.runtime.generation.row import Generated
from adapterhub.runtime.generation.settings import GenerationSettings


def test_likelihoods_are_those_of_the_stock_model(llama: Bed) -> None:
    generator = llama.generator()
    stream = generator.submit("t/eight", "my card", GenerationSettings(max_new_tokens=6, n_likeliest=3))
    beside = generator.submit("t/two", "soup", GenerationSettings(max_new_tokens=9))
    pieces = list(stream)
    tokens = [piece.token for piece in pieces]
    llama.stock("t/eight", "my card", 1)
    with torch.inference_mode():
        prompt = llama.tokens("my card")
        logits = llama.models["t/eight"](torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1:-1]
    expected = torch.log_softmax(logits, dim=-1)
    for i, piece in enumerate(pieces):
        assert piece.likelihood is not None
        assert piece.likelihood.logprob == pytest.approx(float(expected[i, tokens[i]]), abs=1e-4)
        best = expected[i].topk(3)
        assert [token for token, _ in piece.likelihood.likeliest] == best.indices.tolist()
        assert [value for _, value in piece.likelihood.likeliest] == pytest.approx(best.values.tolist(), abs=1e-4)
    assert all(piece.likelihood is None for piece in beside)


def test_asking_for_them_changes_no_token(llama: Bed) -> None:
    drawn = {"max_new_tokens": 8, "temperature": 1.1, "seed": 3}
    plain, told = llama.generator().generate([("t/eight", "my card", GenerationSettings(**drawn)),
                                              ("t/eight", "my card", GenerationSettings(**drawn, n_likeliest=0))])
    assert isinstance(plain, Generated)
    assert isinstance(told, Generated)
    assert plain.tokens == told.tokens


def test_fewer_than_none_are_refused() -> None:
    with pytest.raises(InvalidConfig, match="n_likeliest is -1"):
        GenerationSettings(n_likeliest=-1)


def test_ready_gives_what_is_there_and_lets_nothing_step(llama: Bed) -> None:
    generator = llama.generator()
    stream = generator.submit("t/eight", "my card", GenerationSettings(max_new_tokens=4))
    assert stream.ready() == []
    generator.step()
    first = stream.ready()
    while generator.step():
        pass
    rest = stream.ready()
    assert [piece.token for piece in (*first, *rest)] == stream.result().tokens
    assert stream.ready() == []
