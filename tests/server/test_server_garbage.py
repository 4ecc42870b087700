"""Half a character, which JSON lets pass, in every field of every route: refused, never a fault of ours."""

import json
from typing import Any

import pytest
from running_server import Running

HALF = "\ud800"


def send(server: Running, path: str, body: Any) -> Any:
    return server.client.post(path, content=json.dumps(body).encode(), headers={"content-type": "application/json"})


@pytest.mark.parametrize(("path", "body"), [
    ("/v1/predict", {"rows": [{"adapter": HALF, "text": "a"}]}),
    ("/v1/predict", {"rows": [{"adapters": ["t/intents3", HALF], "text": "a"}]}),
    ("/v1/predict", {"rows": [{"adapter": "t/intents3", HALF: "a"}]}),
    ("/v1/predict", {"rows": [{"adapter": "t/entities", "tokens": ["a", HALF]}]}),
    ("/v1/predict", {"rows": [{"adapter": "t/pairs", "query": "a", "candidates": [HALF]}]}),
    ("/v1/predict", {HALF: 1}),
    ("/models/t/intents3", {"inputs": HALF}),
    ("/models/t/intents3", {"inputs": {"text": "a", HALF: HALF}}),
    ("/models/t/intents3", {"inputs": "a", "parameters": {HALF: HALF}}),
    ("/models/t/intents3", {"inputs": "a", "parameters": {"top_k": HALF}}),
    ("/v1/embeddings", {"model": HALF, "input": "a"}),
    ("/v1/embeddings", {"model": "t/pairs", "input": HALF}),
    ("/v1/completions", {"model": HALF, "prompt": HALF}),
])
def test_half_a_character_is_no_fault_of_ours(served: Running, path: str, body: Any) -> None:
    reply = send(served, path, body)
    assert reply.status_code < 500, reply.text
    assert isinstance(reply.json(), dict)
    if reply.status_code == 200:
        assert reply.json().get("n_failed", 1) >= 1 or path.startswith("/models/")


def test_half_a_character_in_an_address_is_no_fault_of_ours(served: Running) -> None:
    for path in ("/models/%ED%A0%80", "/v1/models/%ED%A0%80", "/v1/adapters/%ff/load", "/%ED%A0%80"):
        assert served.client.post(path, json={"inputs": "a"}).status_code < 500
        assert served.client.get(path).status_code < 500


@pytest.mark.parametrize("reference", ["./x", "../x", "/etc/passwd", "./tour/intents"])
def test_no_folder_of_the_server_can_be_asked_for(reference: str, served: Running) -> None:
    answer = served.predict({"adapter": reference, "text": "my card"})[0]
    assert answer["error"]["kind"] == "InvalidReference"
    for address in (f"/models/{reference}", f"/v1/adapters/{reference}/load", f"/v1/adapters/{reference}/pin"):
        assert served.client.post(address, json={"inputs": "my card"}).status_code in (400, 404, 405)
    reply = served.post("/v1/embeddings", {"model": reference, "input": "my card"})
    assert reply.status_code in (400, 404)


def test_deadline_of_very_many_digits_is_400(served: Running) -> None:
    reply = served.client.post("/v1/predict", json={"rows": [{"text": "a"}]}, headers={"x-deadline-ms": "1" * 5000})
    assert reply.status_code == 400


def test_row_of_too_many_candidates_fails_alone(served: Running) -> None:
    large = {"adapter": "t/pairs", "query": "my card", "candidates": ["a"] * 70_000}
    failed, answered = served.predict(large, {"adapter": "t/intents3", "text": "my card"})
    assert failed["error"]["kind"] == "BodyTooLarge"
    assert answered["result"]


def test_version_of_very_many_digits_is_no_reference(served: Running) -> None:
    reference = "t/intents3@" + "1" * 5000
    assert served.client.post(f"/models/{reference}", json={"inputs": "my card"}).status_code in (400, 404)
    assert served.client.get(f"/v1/models/{reference}").status_code in (400, 404)
