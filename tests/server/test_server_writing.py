"""Writing over HTTP, asked by the unmodified `openai` and `huggingface_hub` clients; on a tiny llama with adapters."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from huggingface_hub import InferenceClient
from language_models import Recipe, write_language_model, write_lora
from running_server import Running, running, wait_until

from adapterhub.bases.load import load_base
from adapterhub.registry import Registry
from adapterhub.runtime.generation.engine import Generator
from adapterhub.runtime.generation.row import Generated
from adapterhub.runtime.generation.settings import GenerationSettings
from adapterhub.server.answered import AnsweredRow
from adapterhub.server.config import Limits, ServerConfig
from adapterhub.settings import Settings

PROMPT = "my card"
CHAT: Any = [{"role": "system", "content": "be brief"}, {"role": "user", "content": [{"type": "text", "text": PROMPT}]}]


@pytest.fixture(scope="module")
def writing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server over t/two and t/eight (alias `live`) of a tiny llama."""
    place = tmp_path_factory.mktemp("writing")
    settings = Settings(registry=str(place / "registry"), cache=place / "cache", data=None, shipped_registry=None)
    base = load_base(str(write_language_model(place / "base", "llama")), cache=settings.cache)
    registry = Registry(place / "registry")
    for name, recipe in (("two", Recipe(rank=2, seed=1)), ("eight", Recipe(rank=8, seed=2))):
        registry.publish(write_lora(place / name, base, recipe), f"t/{name}")
    registry.promote("t/eight", "live")
    config = ServerConfig(port=0, follow_s=0.2, limits=Limits(streams=6, new_tokens=40))
    with running(base, registry, place, settings, config=config) as server:
        yield server


@pytest.fixture(scope="module")
def alone(writing: Running) -> Iterator[Generator]:
    """A generator of the test's own, to compare with."""
    place = Path(writing.registry.where).parent
    settings = Settings(registry=writing.registry.where, cache=place / "cache", data=None, shipped_registry=None)
    generator = Generator(writing.house.base, writing.registry, settings=settings)
    yield generator
    generator.close()


@pytest.fixture(scope="module")
def client(writing: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{writing.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def written(alone: Generator, reference: str | None, prompt: Any, **settings: Any) -> Generated:
    answer = alone.generate([(reference, prompt, GenerationSettings(**settings))])[0]
    assert isinstance(answer, Generated), answer
    return answer


@pytest.mark.parametrize("reference", ["t/two", "t/eight@live", None])
def test_completion_is_what_the_generator_writes(client: openai.OpenAI, writing: Running, alone: Generator,
                                                 reference: str | None) -> None:
    answer = client.completions.create(model=reference or writing.house.base_id, prompt=PROMPT, max_tokens=12,
                                       temperature=0)
    expected = written(alone, reference, PROMPT, max_new_tokens=12)
    choice, = answer.choices
    assert (choice.text, choice.finish_reason) == (expected.text, expected.finish_reason)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == expected.n_prompt_tokens
    assert answer.usage.completion_tokens == len(expected.tokens)
    assert answer.id.startswith("ans_")
    assert (answer.system_fingerprint, answer.to_dict()["version"]) == (expected.digest, expected.version)


def test_chat_goes_through_the_bases_template(client: openai.OpenAI, alone: Generator) -> None:
    answer = client.chat.completions.create(model="t/eight", messages=CHAT, max_completion_tokens=8, temperature=0)
    expected = written(alone, "t/eight", [{"role": "system", "content": "be brief"},
                                          {"role": "user", "content": PROMPT}], max_new_tokens=8)
    assert answer.choices[0].message.content == expected.text
    assert answer.choices[0].message.role == "assistant"


@pytest.mark.parametrize("is_chat", [False, True])
def test_stream_gives_the_same_text_piece_by_piece_with_usage_at_its_end(client: openai.OpenAI, is_chat: bool) -> None:
    given: dict[str, Any] = {"model": "t/eight", "max_tokens": 10, "temperature": 0}
    given |= {"messages": CHAT} if is_chat else {"prompt": PROMPT}
    create: Any = client.chat.completions.create if is_chat else client.completions.create
    whole = create(**given)
    chunks = list(create(**given, stream=True, stream_options={"include_usage": True}))
    *texts, last, used = chunks
    if is_chat:
        assert texts[0].choices[0].delta.role == "assistant"
        assert "".join(chunk.choices[0].delta.content for chunk in texts) == whole.choices[0].message.content
    else:
        assert "".join(chunk.choices[0].text for chunk in texts) == whole.choices[0].text
    assert len(texts) > 2
    assert last.choices[0].finish_reason == whole.choices[0].finish_reason
    assert used.choices == []
    assert used.usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1


def test_who_listens_is_told_of_each_choice_by_its_id(client: openai.OpenAI, writing: Running) -> None:
    told: list[AnsweredRow] = []
    writing.house.listeners.append(told.append)
    try:
        one = client.completions.create(model="t/eight@live", prompt=PROMPT, max_tokens=3)
        two = client.completions.create(model="t/eight@live", prompt=PROMPT, max_tokens=3, n=2)
        wait_until(lambda: len(told) == 3)
    finally:
        writing.house.listeners.remove(told.append)
    assert [record.id for record in told] == [one.id, f"{two.id}-0", f"{two.id}-1"]
    assert [record.result["text"] for record in told[1:]] == [choice.text for choice in two.choices]
    assert {(record.version, record.row) for record in told} == {("t/eight@1", PROMPT)}


def test_stop_ends_the_text_before_it(client: openai.OpenAI, alone: Generator) -> None:
    free = written(alone, "t/eight", PROMPT, max_new_tokens=20).text
    stop = free[4:6]
    answer = client.completions.create(model="t/eight", prompt=PROMPT, max_tokens=20, temperature=0, stop=[stop])
    assert answer.choices[0].text == free[:free.index(stop)]
    assert answer.choices[0].finish_reason == "stop"


def test_seed_repeats_draws_and_choices_differ(client: openai.OpenAI) -> None:
    given: dict[str, Any] = {"model": "t/eight", "prompt": PROMPT, "max_tokens": 12, "temperature": 1.2, "n": 3}
    first, again = (client.completions.create(**given, seed=5) for _ in range(2))
    assert [choice.text for choice in first.choices] == [choice.text for choice in again.choices]
    assert len({choice.text for choice in first.choices}) == 3
    assert [choice.index for choice in first.choices] == [0, 1, 2]
    other = client.completions.create(**given, seed=50)
    assert [choice.text for choice in first.choices] != [choice.text for choice in other.choices]


def test_logprobs_in_both_forms(client: openai.OpenAI) -> None:
    chat = client.chat.completions.create(model="t/eight", messages=CHAT, max_tokens=4, temperature=0, logprobs=True,
                                          top_logprobs=2)
    assert chat.choices[0].logprobs is not None
    content = chat.choices[0].logprobs.content
    assert content is not None
    assert len(content) == 4
    for token in content:
        assert len(token.top_logprobs) == 2
        assert token.logprob == pytest.approx(token.top_logprobs[0].logprob)  # greedy: the likeliest was taken
    plain = client.completions.create(model="t/eight", prompt=PROMPT, max_tokens=4, temperature=0, logprobs=1)
    told = plain.choices[0].logprobs
    assert told is not None
    assert told.tokens is not None
    assert told.token_logprobs is not None
    assert len(told.tokens) == len(told.token_logprobs) == 4


def test_rows_of_several_callers_and_adapters_are_written_together(client: openai.OpenAI, writing: Running,
                                                                   alone: Generator) -> None:
    asked = [("t/two", "soup"), ("t/eight", PROMPT), ("t/two", PROMPT), ("t/eight", "the loan")]
    found: dict[int, str] = {}

    def ask(i: int) -> None:
        reference, prompt = asked[i]
        found[i] = client.completions.create(model=reference, prompt=prompt, max_tokens=30, temperature=0
                                             ).choices[0].text
    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, (reference, prompt) in enumerate(asked):
        assert found[i] == written(alone, reference, prompt, max_new_tokens=30).text


def test_client_that_hangs_up_frees_its_row(client: openai.OpenAI, writing: Running,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    assert writing.house.writing is not None
    generator, may_go_on = writing.house.writing.generator, threading.Event()
    step = generator.step
    n_steps = 0

    def slow() -> bool:
        nonlocal n_steps
        n_steps += 1
        assert n_steps < 4 or may_go_on.wait(30)
        return step()
    monkeypatch.setattr(generator, "step", slow)
    stream = client.completions.create(model="t/eight", prompt=PROMPT, max_tokens=40, temperature=0, stream=True)
    next(iter(stream))
    stream.close()
    wait_until(lambda: writing.house.door.n_in_flight == 0)
    may_go_on.set()
    wait_until(lambda: writing.house.writing is not None and writing.house.writing.writer.n_drafts == 0)
    assert generator.statistics().n_running == 0
    assert generator.statistics().cache_bytes == 0
    assert n_steps < 30


def test_row_past_its_time_ends_with_what_it_has(writing: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    assert writing.house.writing is not None
    generator = writing.house.writing.generator
    step, clock = generator.step, threading.Event()

    def slow() -> bool:
        clock.wait(0.02)
        return step()
    monkeypatch.setattr(generator, "step", slow)
    reply = writing.post("/v1/completions", {"model": "t/eight", "prompt": PROMPT, "max_tokens": 40, "temperature": 0},
                         **{"x-deadline-ms": "300"})
    body = reply.json()
    assert reply.status_code == 200
    assert body["choices"][0]["finish_reason"] == "length"
    assert 0 < body["usage"]["completion_tokens"] < 40


@pytest.mark.parametrize(("changes", "status", "field"), [
    ({"model": "t/eigth"}, 404, None), ({"model": ""}, 400, "model"), ({"max_tokens": 0}, 400, "max_tokens"),
    ({"max_tokens": 41}, 400, "max_tokens"), ({"temperature": 3}, 400, "temperature"), ({"n": 9}, 400, "n"),
    ({"stop": ""}, 400, "stop"), ({"prompt": ["a", "b"]}, 400, "prompt"), ({"prompt": ""}, 422, None),
    ({"prompt": "a" * 500}, 422, None), ({"logit_bias": {"5": 1}}, 400, "logit_bias"),
    ({"presence_penalty": 1}, 400, "presence_penalty"), ({"best_of": 3}, 400, "best_of"),
    ({"echo": True}, 400, "echo"), ({"tools": []}, 400, "tools"), ({"prompt": [5, 6]}, 400, "prompt"),
    ({"n": 7}, 429, None),
])
def test_bad_request_is_told_in_openais_form(writing: Running, changes: dict[str, Any], status: int,
                                             field: str | None) -> None:
    given = {"model": "t/eight", "prompt": PROMPT, "max_tokens": 2} | changes
    for is_stream in (False, True):
        reply = writing.post("/v1/completions", {**given, "stream": is_stream})
        assert reply.status_code == status, reply.text
        assert reply.json()["error"].keys() == {"message", "type", "param", "code"}
        assert field is None or reply.json()["error"]["param"].startswith(field)
    assert writing.house.writing is not None
    assert writing.house.writing.writer.n_drafts == 0


def test_adapter_of_another_base_is_409_before_any_event(writing: Running, tiny_adapters: dict[str, Path]) -> None:
    writing.registry.publish(tiny_adapters["intents3"], "t/classifier")
    reply = writing.post("/v1/completions", {"model": "t/classifier", "prompt": PROMPT, "stream": True})
    assert reply.status_code == 409
    assert reply.json()["error"]["code"] == "BaseMismatch"


def test_chat_where_the_base_has_no_template_is_422(writing: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing.house.base.tokenizer, "chat_template", None)
    reply = writing.post("/v1/chat/completions", {"model": "t/eight", "messages": CHAT})
    assert reply.status_code == 422
    assert "chat template" in reply.json()["error"]["message"]


@pytest.mark.parametrize(("path", "body"), [
    ("/v1/completions", {"model": "t/two", "prompt": "\ud800"}),
    ("/v1/completions", {"model": "t/two", "prompt": PROMPT, "stop": "\ud800"}),
    ("/v1/chat/completions", {"model": "t/two", "messages": [{"role": "\ud800", "content": "a"}]}),
    ("/v1/chat/completions", {"model": "t/two", "messages": [{"role": "user", "content": "\ud800"}]}),
    ("/v1/chat/completions", {"model": "t/two", "max_tokens": 2, "messages": [{"role": "user", "content": "\ud800"}]}),
    ("/models/t/two", {"inputs": "\ud800"}), ("/models/t/two", {"inputs": {"a": 1}}),
    ("/models/t/two", {"inputs": PROMPT, "parameters": {"stop": ["\ud800"]}}),
])
def test_half_a_character_is_no_fault_of_ours(writing: Running, path: str, body: Any) -> None:
    for is_stream in (False, True):
        reply = writing.client.post(path, content=json.dumps({**body, "stream": is_stream}).encode(),
                                    headers={"content-type": "application/json"})
        assert reply.status_code < 500, reply.text
        assert "error" in reply.text or "stop" in body or "parameters" in body
    assert writing.post("/v1/completions", {"model": "t/two", "prompt": PROMPT}).status_code == 200


def test_rows_are_refused_where_the_base_writes(writing: Running, served: Running) -> None:
    refused = writing.post("/v1/predict", {"rows": [{"adapter": "t/eight", "text": "a"}]})
    assert (refused.status_code, "/v1/completions" in refused.json()["error"]["hint"]) == (409, True)
    other_way = served.post("/v1/completions", {"model": "t/intents3", "prompt": "a"})
    assert (other_way.status_code, "writes no text" in other_way.json()["error"]["message"]) == (409, True)


def test_alias_that_moves_while_a_row_writes_changes_only_later_rows(writing: Running, client: openai.OpenAI,
                                                                     tmp_path: Path) -> None:
    first = client.completions.create(model="t/eight@live", prompt=PROMPT, max_tokens=30, temperature=0, stream=True)
    opening = next(iter(first))
    two = write_lora(tmp_path / "again", writing.house.base, Recipe(rank=4, seed=9))
    version = writing.registry.publish(two, "t/eight")
    writing.registry.promote(version.reference, "live")
    assert {chunk.system_fingerprint for chunk in first} == {opening.system_fingerprint}
    threading.Event().wait(0.25)
    later = client.completions.create(model="t/eight@live", prompt=PROMPT, max_tokens=2, temperature=0)
    assert later.system_fingerprint == version.digest


def hub(writing: Running, adapter: str = "t/two") -> InferenceClient:
    return InferenceClient(model=f"{writing.url}/models/{adapter}")


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.mark.usefixtures("online")
def test_hub_client_generates_text_whole_and_streamed(writing: Running, alone: Generator) -> None:
    expected = written(alone, "t/two", PROMPT, max_new_tokens=9)
    assert hub(writing).text_generation(PROMPT, max_new_tokens=9) == expected.text
    assert hub(writing).text_generation(PROMPT, max_new_tokens=9, return_full_text=True) == PROMPT + expected.text
    told = hub(writing).text_generation(PROMPT, max_new_tokens=9, details=True)
    assert told.details is not None
    assert [token.id for token in told.details.tokens] == expected.tokens
    assert (told.details.finish_reason, told.details.generated_tokens) == ("length", 9)
    assert all(token.logprob <= 0 for token in told.details.tokens)
    with hub(writing) as streaming:  # the client lets go of a stream that it is not held for
        pieces = list(streaming.text_generation(PROMPT, max_new_tokens=9, stream=True, details=True))
    assert [piece.token.id for piece in pieces] == expected.tokens
    assert pieces[-1].generated_text == expected.text
    assert pieces[-1].details is not None
    assert pieces[-1].details.input_length == expected.n_prompt_tokens


@pytest.mark.usefixtures("online")
def test_hub_client_chats_on_the_servers_own_route(writing: Running) -> None:
    answer = InferenceClient(base_url=f"{writing.url}/v1").chat_completion(
        [{"role": "user", "content": PROMPT}], model="t/two", max_tokens=5)
    assert answer.choices[0].message.content is not None


@pytest.mark.parametrize("parameters", [{"max_new_tokens": 0}, {"typical_p": 0.5}, {"best_of": 2}, {"stop": [""]},
                                        {"grammar": {"type": "regex", "value": "a"}}, {"top_p": 7}])
def test_hub_parameter_that_is_not_done_is_named(writing: Running, parameters: dict[str, Any]) -> None:
    reply = writing.post("/models/t/two", {"inputs": PROMPT, "parameters": parameters})
    assert reply.status_code == 400, reply.text
    assert next(iter(parameters)) in reply.json()["error"]


def test_log_probabilities_of_a_stream_are_json(writing: Running) -> None:
    reply = writing.post("/v1/completions", {"model": "t/two", "prompt": PROMPT, "max_tokens": 3, "logprobs": 2,
                                             "stream": True})
    events = [line.removeprefix("data: ") for line in reply.text.splitlines() if line]
    assert events[-1] == "[DONE]"
    assert json.loads(events[0])["choices"][0]["logprobs"]["tokens"]
