"""The Hugging Face form, asked by the unmodified `huggingface_hub.InferenceClient`."""

from typing import Any

import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from running_server import Running

TEXT = "the anna is new oslo rome ."


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests ask no network; the client must be told that loopback is none."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


def client(server: Running, adapter: str) -> InferenceClient:
    return InferenceClient(model=f"{server.url}/models/{adapter}")


def result(server: Running, adapter: str, **row: Any) -> dict[str, Any]:
    answer: dict[str, Any] = server.predict({"adapter": adapter, **row})[0]["result"]
    return answer


@pytest.mark.parametrize("adapter", ["t/intents3", "t/intents3@live", "t/intents3@1"])
def test_text_classification(served: Running, adapter: str) -> None:
    labels = client(served, adapter).text_classification("my card")
    expected = result(served, adapter, text="my card")["top"]
    assert [(line.label, line.score) for line in labels] == [
        (line["label"], pytest.approx(line["score"], abs=1e-5)) for line in expected]
    assert len(client(served, adapter).text_classification("my card", top_k=1)) == 1


def test_reference_by_digest(served: Running) -> None:
    digest = served.registry.resolve("t/intents3").digest
    assert client(served, f"t/intents3@sha256:{digest[:12]}").text_classification("my card")


def test_token_classification(served: Running) -> None:
    entities = client(served, "t/finder").token_classification(TEXT, aggregation_strategy="simple")
    expected = result(served, "t/finder", text=TEXT)["entities"]
    assert expected, "the tiny adapter finds something"
    assert [(one.entity_group, one.word, one.start, one.end) for one in entities] == [
        (one["entity"], one["word"], one["start"], one["end"]) for one in expected]
    assert all(TEXT[one.start:one.end] == one.word for one in entities)
    kinds = {str(one.entity_group) for one in entities}
    assert client(served, "t/finder").token_classification(TEXT, ignore_labels=sorted(kinds)) == []


def test_question_answering(served: Running) -> None:
    asked = {"question": "where is anna", "context": "ben is in oslo. anna is in rome. carla is in lima."}
    answer: Any = client(served, "t/answers").question_answering(**asked)
    expected = result(served, "t/answers", **asked)
    assert (answer.answer, answer.start, answer.end) == tuple(expected[name] for name in ("answer", "start", "end"))
    assert answer.score == pytest.approx(expected["score"], abs=1e-5)
    assert asked["context"][answer.start:answer.end] == answer.answer


def test_sentence_similarity_gives_scores_in_the_order_asked(served: Running) -> None:
    sentences = ["the new soup", "my card", "where is the loan"]
    scores = client(served, "t/pairs").sentence_similarity("my card", sentences)
    expected = [result(served, "t/pairs", query="my card", answer=sentence)["score"] for sentence in sentences]
    assert scores == pytest.approx(expected, abs=1e-5)
    assert scores[1] == max(scores)


def test_feature_extraction(served: Running) -> None:
    vector = client(served, "t/pairs").feature_extraction("my card", normalize=True)
    assert vector.tolist() == pytest.approx(result(served, "t/pairs", text="my card")["embedding"], abs=1e-5)
    both = client(served, "t/pairs").feature_extraction(["my card", "the new soup"])
    assert both.shape == (2, len(vector))
    assert both[0].tolist() == pytest.approx(vector.tolist(), abs=1e-5)


def test_version_and_digest_and_answer_stand_in_the_headers(served: Running) -> None:
    reply = served.post("/models/t/intents3@live", {"inputs": ["my card", "the loan"]})
    version = served.registry.resolve("t/intents3@live")
    assert reply.headers["x-adapter-version"] == version.reference
    assert reply.headers["x-adapter-digest"] == version.digest
    assert reply.headers["x-answer-id"].count("ans_") == 2


@pytest.mark.parametrize(("adapter", "body", "status", "told"), [
    ("t/intent3", {"inputs": "a"}, 404, "t/intents3"),
    ("nothing", {"inputs": "a"}, 404, "not a reference"),
    ("t/intents3", {"inputs": ""}, 422, "text"),
    ("t/intents3", {"inputs": 5}, 400, "inputs"),
    ("t/intents3", {"inputs": []}, 400, "at least 1 item"),
    ("t/intents3", {"inputs": [["a"]]}, 400, "inputs"),
    ("t/intents3", {}, 400, "inputs"),
    ("t/intents3", {"inputs": {"source_sentence": "a", "sentences": ["b"]}}, 422, "text"),
    ("t/pairs", {"inputs": {"source_sentence": "a"}}, 422, "Candidates"),
    ("t/intents3", {"inputs": "a", "parameters": {"top_k": 50}}, 400, "top_k"),
    ("t/intents3", {"inputs": "a", "parameters": {"function_to_apply": "sigmoid"}}, 400, "softmax"),
    ("t/intents3", {"inputs": "a", "parameters": {"candidate_labels": ["b"]}}, 400, "candidate_labels"),
    ("t/entities", {"inputs": "a", "parameters": {"aggregation_strategy": "none"}}, 400, "simple"),
    ("t/pairs", {"inputs": "a", "dimensions": 8}, 400, "dimensions"),
])
def test_bad_input_is_told_in_the_hubs_form(served: Running, adapter: str, body: Any, status: int, told: str) -> None:
    reply = served.post(f"/models/{adapter}", body)
    assert reply.status_code == status, reply.text
    assert reply.json().keys() == {"error", "error_type"}
    assert told in reply.json()["error"]


def test_client_meets_the_error_as_its_own(served: Running) -> None:
    with pytest.raises(HfHubHTTPError, match="t/intents3"):
        client(served, "t/intent3").text_classification("my card")
