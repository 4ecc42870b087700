"""OpenAI's form for encoders, asked by the unmodified `openai` client."""

from collections.abc import Iterator

import openai
import pytest
from running_server import Running


@pytest.fixture(scope="module")
def client(served: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_models_are_the_base_and_the_adapters(client: openai.OpenAI, served: Running) -> None:
    models = {model.id: model for model in client.models.list()}
    assert set(models) == {served.house.base_id, *served.registry.paths()}
    assert models["t/pairs"].owned_by == "t"
    assert models["t/pairs"].created > 1_700_000_000
    shown = client.models.retrieve("t/intents3@live")
    assert (shown.id, shown.to_dict()["version"]) == ("t/intents3@live", "t/intents3@1")


@pytest.mark.parametrize("encoding", ["float", "base64", None])
def test_embeddings(client: openai.OpenAI, served: Running, encoding: str | None) -> None:
    texts = ["my card", "the new soup"]
    given = {} if encoding is None else {"encoding_format": encoding}
    answer = client.embeddings.create(model="t/pairs", input=texts, **given)  # type: ignore[call-overload]
    expected = [served.predict({"adapter": "t/pairs", "text": text})[0]["result"]["embedding"] for text in texts]
    if encoding == "base64":  # asked for by name, the client leaves it as it came
        assert all(isinstance(one.embedding, str) for one in answer.data)
    else:
        for one, vector in zip(answer.data, expected, strict=True):
            assert one.embedding == pytest.approx(vector, abs=1e-5)
    n_tokens = sum(len(served.house.base.tokenizer(text).input_ids) for text in texts)
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (n_tokens, n_tokens)
    assert answer.model_extra == {"version": "t/pairs@1", "digest": served.registry.resolve("t/pairs").digest}


def test_bare_base_embeds_under_its_own_id(client: openai.OpenAI, served: Running) -> None:
    answer = client.embeddings.create(model=served.house.base_id, input="my card")
    bare = served.predict({"text": "my card"})[0]["result"]["embedding"]
    assert answer.data[0].embedding == pytest.approx(bare, abs=1e-5)


def test_headers_state_version_and_digest(client: openai.OpenAI, served: Running) -> None:
    reply = client.embeddings.with_raw_response.create(model="t/pairs", input="my card")
    assert reply.headers["x-adapter-version"] == "t/pairs@1"
    assert reply.headers["x-adapter-digest"] == served.registry.resolve("t/pairs").digest


def test_errors_are_the_clients_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="t/pairs") as missing:
        client.embeddings.create(model="t/pair", input="a")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as wrong:
        client.embeddings.create(model="t/intents3", input="a")
    assert wrong.value.param == "model"
    for field, given in (("input", {"input": [1, 2]}), ("input", {"input": []}),
                         ("dimensions", {"input": "a", "dimensions": 5})):
        with pytest.raises(openai.BadRequestError) as wrong:
            client.embeddings.create(model="t/pairs", **given)  # type: ignore[call-overload]
        assert str(wrong.value.param).startswith(field)
    with pytest.raises(openai.UnprocessableEntityError):
        client.embeddings.create(model="t/pairs", input=" ")
