"""`POST /v1/feedback`: for the answers of every route, refused in words, durable once it is acknowledged."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from language_models import Recipe, write_language_model, write_lora
from running_server import Running, running, wait_until

from adapterhub.bases.load import load_base
from adapterhub.feedback.reading import Chosen, feedback_of
from adapterhub.feedback.records import Judged
from adapterhub.feedback.store import FeedbackStore
from adapterhub.registry import Registry
from adapterhub.server.config import FeedbackConfig, ServerConfig
from adapterhub.server.tokens import Tokens
from adapterhub.settings import Settings

ROW = {"adapter": "t/intents3@live", "text": "where is my card please"}


def kept(place: Path) -> list[Judged]:
    """What another process would read, oldest first."""
    store = FeedbackStore(str(place), creates=False)
    with store.reading() as connection:
        found = list(feedback_of(connection, Chosen()))
    store.close()
    return found


def place_of(server: Running) -> Path:
    assert server.house.keeper is not None
    return Path(server.house.keeper.store.where)


def give(server: Running, answer_id: str, **said: Any) -> dict[str, Any]:
    reply = server.post("/v1/feedback", {"id": answer_id, **said})
    assert reply.status_code == 200, reply.text
    body: dict[str, Any] = reply.json()
    return body


def refused(server: Running, answer_id: str, **said: Any) -> tuple[int, str, str | None]:
    reply = server.post("/v1/feedback", {"id": answer_id, **said})
    error = reply.json()["error"]
    return reply.status_code, error["message"] + error["hint"], error.get("field")


@contextmanager
def serving(place: Path, base: Path, registry: Registry, settings: Settings, **changes: Any) -> Iterator[Running]:
    feedback = FeedbackConfig(place=str(place / "feedback.sqlite3"), **changes)
    with running(str(base), registry, place, settings, config=ServerConfig(port=0, feedback=feedback)) as server:
        yield server


@pytest.fixture
def keeps_texts(registry: Registry, tiny_base_folder: Path, tiny_settings: Settings,
                tmp_path: Path) -> Iterator[Running]:
    """A server that stores inputs."""
    with serving(tmp_path, tiny_base_folder, registry, tiny_settings, stores_inputs=True) as server:
        yield server


def test_true_label_is_kept_with_the_answer_that_it_is_of(served: Running) -> None:
    answer = served.predict(ROW)[0]
    wrong = next(label for label in ("card", "loan", "travel") if label != answer["result"]["label"])
    assert give(served, answer["id"], label=wrong, rating=0.25) == {
        "id": answer["id"], "version": "t/intents3@1", "digest": answer["digest"], "is_new": True}
    line = next(line for line in kept(place_of(served)) if line.answer.id == answer["id"])
    assert (line.answer.label, line.answer.reference, line.answer.holder) == (
        answer["result"]["label"], "t/intents3@live", "anybody")
    assert (line.feedback.label, line.feedback.rating, line.feedback.holder) == (wrong, 0.25, "anybody")
    assert line.row is line.result is None


def test_feedback_right_behind_its_answer_is_never_too_early(served: Running) -> None:
    for _ in range(20):
        assert give(served, served.predict(ROW)[0]["id"], rating=1)["is_new"]


def test_same_again_is_acknowledged_and_not_counted(served: Running) -> None:
    answer_id = served.predict(ROW)[0]["id"]
    line = 'adapterhub_feedback_total{adapter="t/intents3",kind="rating"}'
    before = served.metric(line)
    assert [give(served, answer_id, rating=1)["is_new"] for _ in range(3)] == [True, False, False]
    assert served.metric(line) == before + 1


def test_metrics_tell_ratings_and_right_labels_by_adapter(served: Running) -> None:
    def figures() -> list[float]:
        return [served.metric(f'adapterhub_feedback_{line}') for line in (
            'rating_sum{adapter="t/intents5"}', 'rating_count{adapter="t/intents5"}',
            'labels_total{adapter="t/intents5",answer="right"}', 'labels_total{adapter="t/intents5",answer="wrong"}')]
    before = figures()
    first, second = served.predict(*[{"adapter": "t/intents5", "text": text} for text in ("my card", "new team")])
    give(served, first["id"], label=first["result"]["label"], rating=0.5)
    give(served, second["id"], label="food" if second["result"]["label"] != "food" else "card")
    assert [round(now - then, 6) for now, then in zip(figures(), before, strict=True)] == [0.5, 1, 1, 1]
    assert served.metric("adapterhub_feedback_answers_lost_total") == 0


def test_answers_of_every_form_can_be_judged(served: Running) -> None:
    entities = served.post("/models/t/entities", {"inputs": ["anna is in rome", "ben"]})
    vectors = served.post("/v1/embeddings", {"model": "t/pairs", "input": ["a card", "a loan"]}).json()["data"]
    bare = served.predict({"text": "my card"})[0]
    ids = [*entities.headers["x-answer-id"].split(", "), *(vector["id"] for vector in vectors), bare["id"]]
    assert len(set(ids)) == 5
    versions = [give(served, answer_id, rating=0)["version"] for answer_id in ids]
    assert versions == ["t/entities@1"] * 2 + ["t/pairs@1"] * 2 + [None]


def test_unknown_answer_is_404_and_no_id_400(served: Running) -> None:
    assert refused(served, "ans_000000000000000000000000", rating=1)[0] == 404
    for given in ("", "a b", "x" * 81, "\u00e4", None, 7):
        assert served.post("/v1/feedback", {"id": given, "rating": 1}).status_code == 400


@pytest.mark.parametrize(("said", "told"), [
    ({}, "at least one of"), ({"rating": 1.5}, "rating"), ({"rating": "1"}, "rating"), ({"rating": True}, "rating"),
    ({"ratin": 1}, "ratin"), ({"label": ""}, "label"), ({"correction": "x"}, "correction"),
])
def test_body_that_says_nothing_is_400(served: Running, said: dict[str, Any], told: str) -> None:
    status, words, _ = refused(served, served.predict(ROW)[0]["id"], **said)
    assert (status, told in words) == (400, True), words


GARBAGE: list[Any] = [None, True, -1, 2, 1e308, "", " ", "x" * 400, "\u0000", "\ud800", [], [[]], [""], {}, {"a": {}},
                      {"label": None}, {"\ud800": "\ud800"}, [None], ["card"] * 1000]


def test_garbage_in_any_field_is_no_fault_of_ours(keeps_texts: Running) -> None:
    answers = keeps_texts.predict({"adapter": "t/intents3", "text": "a"}, {"adapter": "t/entities", "text": "a"},
                                  {"adapter": "t/pairs", "query": "a", "candidates": ["b"]}, {"text": "a"})
    for answer in answers:
        for field in ("rating", "label", "correction"):
            for value in GARBAGE:
                body = json.dumps({"id": answer["id"], field: value}).encode()
                reply = keeps_texts.client.post("/v1/feedback", content=body,
                                                headers={"content-type": "application/json"})
                assert reply.status_code in (200, 400, 409, 422), (field, value, reply.text)
    assert keeps_texts.predict({"adapter": "t/intents3", "text": "a"})[0]["result"]


def test_not_a_number_is_400(served: Running) -> None:
    answer_id = served.predict(ROW)[0]["id"]
    for given in ('"rating": NaN', '"label": Infinity', '"rating": 1e999'):
        reply = served.client.post("/v1/feedback", content=f'{{"id": "{answer_id}", {given}}}'.encode(),
                                   headers={"content-type": "application/json"})
        assert reply.status_code == 400, given


def test_label_that_is_none_of_the_adapters_is_422_and_not_kept(served: Running) -> None:
    answer = served.predict(ROW)[0]
    status, words, field = refused(served, answer["id"], label="carb")
    assert (status, field, "Did you mean card?" in words) == (422, "label", True)
    for label in ("my secret is that", ["card"], 0.5):
        assert refused(served, answer["id"], label=label)[0] == 422, label
    assert refused(served, served.predict({"adapter": "t/entities", "text": "anna"})[0]["id"], label="PER")[0] == 422
    assert refused(served, served.predict({"text": "anna"})[0]["id"], label="PER")[0] == 422
    assert answer["id"] not in [line.answer.id for line in kept(place_of(served))]


def test_correction_needs_a_server_that_keeps_texts(served: Running) -> None:
    status, words, _ = refused(served, served.predict(ROW)[0]["id"], correction={"label": "card"})
    assert (status, "--store-inputs" in words) == (409, True)


def test_server_without_a_store_says_so(registry: Registry, tiny_base_folder: Path, tiny_settings: Settings,
                                        tmp_path: Path) -> None:
    with running(str(tiny_base_folder), registry, tmp_path, tiny_settings) as server:
        status, words, _ = refused(server, server.predict({"adapter": "t/intents3", "text": "a"})[0]["id"], rating=1)
    assert (status, "--feedback" in words) == (409, True)


def test_scopes_and_namespaces_hold(registry: Registry, tiny_base_folder: Path, tiny_settings: Settings,
                                    tmp_path: Path, tiny_adapters: dict[str, Path]) -> None:
    registry.publish(tiny_adapters["intents5"], "other/intents5")
    with serving(tmp_path, tiny_base_folder, registry, tiny_settings) as server:
        tokens = Tokens(tmp_path / "tokens")
        asks, judges, strange = (tokens.create(name, (scope,), (space,)) for name, scope, space in (
            ("asks", "predict", "*"), ("judges", "feedback", "t"), ("strange", "feedback", "other")))

        def headers(of: Any) -> dict[str, str]:
            return {"authorization": f"Bearer {of[0]}"}
        wait_until(lambda: server.post("/v1/predict", {"rows": [ROW]}).status_code == 401)
        row = {"rows": [{"adapter": "t/intents3", "text": "my card"}]}
        answer = server.post("/v1/predict", row, **headers(asks)).json()["answers"][0]
        said = {"id": answer["id"], "rating": 1}
        statuses = [server.post("/v1/feedback", said, **headers(of)).status_code for of in (asks, strange, judges)]
    assert statuses == [403, 403, 200]
    line, = kept(tmp_path / "feedback.sqlite3")
    assert (line.answer.holder, line.feedback.holder) == (asks[1].id, judges[1].id)


def test_with_store_inputs_texts_are_kept_and_cleaned(keeps_texts: Running) -> None:
    row = {"adapter": "t/entities", "text": "call anna at +49 30 901820 or anna@rome.it"}
    answer = keeps_texts.predict(row)[0]
    give(keeps_texts, answer["id"], correction={"tokens": ["anna@rome.it", "is", "anna"], "tags": ["O", "O", "B-PER"]})
    line, = kept(place_of(keeps_texts))
    assert line.row == {"text": "call anna at [phone] or [email]"}
    assert line.feedback.correction == {"tokens": ["[email]", "is", "anna"], "tags": ["O", "O", "B-PER"]}
    assert set(line.result) == {"entities"}
    files = b"".join(path.read_bytes() for path in place_of(keeps_texts).parent.glob("feedback*"))
    assert b"rome.it" not in files
    assert b"901820" not in files


def test_vectors_are_not_kept(keeps_texts: Running) -> None:
    answer = keeps_texts.predict({"adapter": "t/pairs", "text": "a card"})[0]
    give(keeps_texts, answer["id"], rating=1)
    line, = kept(place_of(keeps_texts))
    assert (line.row, line.result) == ({"text": "a card"}, {})


@pytest.mark.parametrize(("correction", "told"), [
    ({"text": "x"}, "no field 'text'"), ({}, "is empty"), ({"label": "\ud800"}, "half of a character"),
])
def test_correction_that_does_not_fit_is_422(keeps_texts: Running, correction: dict[str, str], told: str) -> None:
    answer_id = keeps_texts.predict({"adapter": "t/intents3", "text": "a"})[0]["id"]
    body = json.dumps({"id": answer_id, "correction": correction}).encode()
    reply = keeps_texts.client.post("/v1/feedback", content=body, headers={"content-type": "application/json"})
    assert (reply.status_code, told in reply.json()["error"]["message"]) == (422, True), reply.text


def test_texts_past_their_time_go_while_it_serves(registry: Registry, tiny_base_folder: Path, tiny_settings: Settings,
                                                  tmp_path: Path) -> None:
    second = 1 / 86400
    with serving(tmp_path, tiny_base_folder, registry, tiny_settings, stores_inputs=True,
                 texts_days=second) as server:
        give(server, server.predict({"adapter": "t/intents3", "text": "quite private"})[0]["id"], rating=1)

        def is_gone() -> bool:
            return all(b"quite private" not in path.read_bytes() for path in tmp_path.glob("feedback*"))
        wait_until(is_gone)
        assert [(line.row, line.feedback.rating) for line in kept(tmp_path / "feedback.sqlite3")] == [(None, 1.0)]


def test_each_choice_that_was_written_is_judged_by_its_own_id(tmp_path: Path) -> None:
    settings = Settings(registry=str(tmp_path / "registry"), cache=tmp_path / "cache", data=None, shipped_registry=None)
    base_folder = write_language_model(tmp_path / "base", "llama")
    registry = Registry(tmp_path / "registry")
    registry.publish(write_lora(tmp_path / "two", load_base(str(base_folder), cache=settings.cache), Recipe(rank=2)),
                     "t/two")
    with serving(tmp_path, base_folder, registry, settings, stores_inputs=True) as server:
        asked = {"model": "t/two", "prompt": "my card", "max_tokens": 3, "temperature": 0}
        one, two = (server.post("/v1/completions", asked | {"n": n}).json() for n in (1, 2))
        with server.client.stream("POST", "/v1/completions", json=asked | {"stream": True, "n": 2}) as stream:
            chunks = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: {")]
        ids = [choice["id"] for answer in (one, two, *chunks) for choice in answer["choices"] if "id" in choice]
        assert ids[:3] == [one["id"], f"{two['id']}-0", f"{two['id']}-1"]
        assert len(set(ids)) == 5
        hub = server.post("/models/t/two", {"inputs": "my card", "parameters": {"max_new_tokens": 3}})
        for answer_id in (*ids, hub.headers["x-answer-id"]):
            assert give(server, answer_id, correction={"completion": "my own words"})["version"] == "t/two@1"
    lines = kept(tmp_path / "feedback.sqlite3")
    assert {line.row for line in lines} == {"my card"}
    assert lines[0].result == {"text": one["choices"][0]["text"]}


def test_no_text_is_logged_counted_or_stored(registry: Registry, tiny_base_folder: Path, tiny_settings: Settings,
                                             tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="adapterhub.server")
    secrets = ("zebra", "quagga", "okapi", "tapir")
    with serving(tmp_path, tiny_base_folder, registry, tiny_settings) as server:
        answers = server.predict({"adapter": "t/intents3", "text": f"{secrets[0]} card"},
                                 {"adapter": "t/entities", "tokens": [secrets[1], "anna"]},
                                 {"adapter": "t/pairs", "query": "a", "candidates": [secrets[2], "b"]},
                                 {"adapter": "t/intents3", "query": secrets[3]})
        for answer in answers[:3]:
            give(server, answer["id"], rating=1)
            assert refused(server, answer["id"], label=secrets[3])[0] == 422
            assert refused(server, answer["id"], correction={"answer": secrets[3]})[0] == 409
        metrics = server.get("/metrics").text
        logged = "".join(f"{record.getMessage()} {record.__dict__.get('facts')}" for record in caplog.records)
        stored = b"".join(path.read_bytes() for path in tmp_path.glob("feedback*"))
    assert "request" in logged
    assert answers[0]["id"].encode() in stored
    for secret in secrets:
        assert secret not in metrics
        assert secret not in logged
        assert secret.encode() not in stored


def test_keeper_is_a_part_of_being_ready(registry: Registry, tiny_base_folder: Path, tiny_settings: Settings,
                                         tmp_path: Path) -> None:
    with serving(tmp_path, tiny_base_folder, registry, tiny_settings) as server:
        assert server.get("/readyz").status_code == 200
        assert server.house.keeper is not None
        server.house.keeper.close()
        assert server.get("/readyz").status_code == 503


def test_answers_before_the_end_are_written(registry: Registry, tiny_base_folder: Path, tiny_settings: Settings,
                                            tmp_path: Path, reopened: Callable[[Path], list[dict[str, Any]]]) -> None:
    with serving(tmp_path, tiny_base_folder, registry, tiny_settings) as server:
        ids = [answer["id"] for answer in server.predict(*[{"adapter": "t/intents3", "text": "a"}] * 200)]
    assert {line["id"] for line in reopened(tmp_path / "feedback.sqlite3")} >= set(ids)


@pytest.fixture
def reopened() -> Callable[[Path], list[dict[str, Any]]]:
    from sqlalchemy import select

    from adapterhub.feedback.tables import ANSWERS
    from adapterhub.feedback.writing import answer_of

    def read(place: Path) -> list[dict[str, Any]]:
        store = FeedbackStore(str(place), creates=False)
        with store.reading() as connection:
            found = [asdict(answer_of(line)) for line in connection.execute(select(ANSWERS))]
        store.close()
        return found
    return read
