"""POST /v1/predict: mixtures in one batch and in order, typed failures by row, hang-ups, deadlines, limits."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from running_server import Running, running, wait_until

from adapterhub.registry import Registry
from adapterhub.runtime.engine import Runtime
from adapterhub.server.answered import AnsweredRow
from adapterhub.server.config import Limits, ServerConfig
from adapterhub.settings import Settings

TEXTS = ("my card", "where is the loan", "anna is in rome", "the new soup")
MIXED = [{"adapter": "t/intents3", "text": TEXTS[0]}, {"adapter": "t/entities", "text": TEXTS[2]},
         {"adapter": "t/pairs", "query": TEXTS[1], "answer": TEXTS[0]}, {"adapter": "t/intents5@1", "text": TEXTS[3]},
         {"text": TEXTS[0]}, {"adapter": "t/intents3@live", "text": TEXTS[1]},
         {"adapter": "t/pairs", "query": TEXTS[1], "candidates": [TEXTS[0], TEXTS[3]]},
         {"adapter": "t/entities", "tokens": ["anna", "is", "new"]}]


def test_mixture_of_tasks_is_answered_in_order_as_the_runtime_answers_each_row_alone(
        served: Running, tiny_base_folder: Path, tiny_settings: Settings) -> None:
    alone = Runtime(str(tiny_base_folder), served.registry, settings=tiny_settings,
                    config=served.house.rows.runtime.config)
    answers = served.predict(*MIXED)
    assert [answer["row"] for answer in answers] == list(range(len(MIXED)))
    for asked, answer in zip(MIXED, answers, strict=True):
        fields = {name: value for name, value in asked.items() if name != "adapter"}
        expected = alone.predict([(asked.get("adapter"), fields)])[0]
        assert same(answer["result"], expected.result), (answer["result"], expected.result)
        assert (answer["task"], answer["version"], answer["digest"]) == (expected.task, expected.version,
                                                                         expected.digest)
        assert answer["adapter"] == asked.get("adapter")
    alone.close()


def same(found: Any, expected: Any) -> bool:
    """Say whether two answers agree; numbers to rounding, as other rows in a pass change it."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[name], expected[name]) for name in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    return bool(found == (pytest.approx(expected, rel=1e-4, abs=1e-5) if isinstance(expected, float) else expected))


def test_one_text_goes_to_many_adapters(served: Running) -> None:
    names = ["t/intents3", "t/intents5", "t/entities", "t/nobody"]
    answers = served.predict({"adapters": names, "text": TEXTS[0]}, {"adapter": "t/query-only", "text": TEXTS[0]})
    assert [answer["adapter"] for answer in answers] == [*names, "t/query-only"]
    assert [answer["row"] for answer in answers] == [0, 0, 0, 0, 1]
    assert [bool(answer.get("result")) for answer in answers] == [True, True, True, False, True]


def test_every_answer_has_its_own_id_and_the_header_names_each_version_once(served: Running) -> None:
    reply = served.post("/v1/predict", {"rows": [*MIXED, *MIXED]})
    ids = [answer["id"] for answer in reply.json()["answers"]]
    assert len(set(ids)) == len(ids) == 2 * len(MIXED)
    assert all(answer_id.startswith("ans_") for answer_id in ids)
    assert reply.headers["x-adapter-version"] == "t/intents3@1, t/entities@1, t/pairs@1, t/intents5@1"
    digests = reply.headers["x-adapter-digest"].split(", ")
    assert digests[0] == served.registry.resolve("t/intents3").digest


@pytest.mark.parametrize(("row", "status", "kind", "told"), [
    ({"adapter": "t/intents", "text": "x"}, 404, "AdapterNotFound", "t/intents3"),
    ({"adapter": "t/intents3@9", "text": "x"}, 404, "AdapterNotFound", "t/intents3@1"),
    ({"adapter": "t/intents3@lvie", "text": "x"}, 404, "AdapterNotFound", "t/intents3@live"),
    ({"adapter": "no reference", "text": "x"}, 404, "InvalidReference", "namespace/name"),
    ({"adapter": "/etc", "text": "x"}, 404, "InvalidReference", "namespace/name"),
    ({"adapter": "./folder", "text": "x"}, 404, "InvalidReference", "namespace/name"),
    ({"adapter": "t/intents3", "text": " "}, 422, "PredictionError", "text"),
    ({"adapter": "t/intents3", "query": "x"}, 422, "PredictionError", "text"),
    ({"adapter": "t/entities", "tokens": ["a", ""]}, 422, "PredictionError", "word"),
    ({"adapter": "t/intents3", "text": "card " * 200}, 422, "PredictionError", "longer than the 64 tokens"),
])
def test_bad_row_in_a_mixed_batch_fails_alone_with_a_type_and_the_next_step(
        served: Running, row: dict[str, Any], status: int, kind: str, told: str) -> None:
    first, bad, last = served.predict(MIXED[0], row, MIXED[1])
    assert first["result"]
    assert last["result"]
    assert (bad["error"]["status"], bad["error"]["kind"]) == (status, kind)
    assert told in bad["error"]["message"] + bad["error"]["hint"]
    assert not bad["error"]["message"].startswith(("Row ", "The row A"))  # the batch's place is not the request's
    assert "sha256" not in bad["error"]["message"]


def test_half_a_character_is_refused_for_its_row_alone(served: Running) -> None:
    data = b'{"rows": [{"text": "\\ud800"}, {"text": "a"}]}'
    reply = served.client.post("/v1/predict", content=data, headers={"content-type": "application/json"})
    bad, good = reply.json()["answers"]
    assert (bad["error"]["status"], bool(good["result"])) == (422, True)


def test_who_listens_is_told_of_each_answer_by_its_id_and_of_no_failure(served: Running) -> None:
    told: list[AnsweredRow] = []
    served.house.listeners.append(told.append)
    try:
        good, bad = served.predict(MIXED[5], {"adapter": "t/nobody", "text": "a"})
    finally:
        served.house.listeners.remove(told.append)
    record, = told
    assert (record.id, record.version, record.digest, record.task) == (good["id"], good["version"], good["digest"],
                                                                       good["task"])
    assert (record.reference, record.row, record.holder) == ("t/intents3@live", {"text": TEXTS[1]}, "anybody")
    assert record.result == good["result"]
    assert "id" not in bad or bad["id"] is None


def test_body_that_is_not_called_json_is_refused(served: Running) -> None:
    # A page in a browser may send such a body to any port of this machine without asking; JSON it may not.
    reply = served.client.post("/v1/predict", content=b'{"rows": [{"text": "a"}]}',
                               headers={"content-type": "text/plain"})
    assert reply.status_code == 400


def test_errors_do_not_tell_where_the_registry_lies(served: Running) -> None:
    answer, = served.predict({"adapter": "t/nobody", "text": "x"})
    assert served.registry.where not in str(answer)


def test_text_too_long_is_cut_where_that_is_asked_for(served: Running) -> None:
    answer, = served.predict({"adapter": "t/intents3", "text": "card " * 200}, truncate=True)
    assert answer["result"]["label"]


@pytest.mark.parametrize(("body", "field"), [
    ({}, "rows"), ({"rows": []}, "rows"), ({"rows": 3}, "rows"), ({"rows": [3]}, "rows.0"), ([], "body"),
    ({"rows": [{"adapter": 5}]}, "rows.0.adapter"), ({"rows": [{"adapter": ""}]}, "rows.0.adapter"),
    ({"rows": [{"adapters": [], "text": "a"}]}, "rows.0.adapters"),
    ({"rows": [{"text": "a", "texxt": "b"}]}, "rows.0.texxt"), ({"rows": [{"tokens": "abc"}]}, "rows.0.tokens"),
    ({"rows": [{"text": "a"}], "truncate": "true"}, "truncate"), (None, "body"),
])
def test_request_that_cannot_be_read_is_400_with_the_field(served: Running, body: Any, field: str) -> None:
    reply = served.post("/v1/predict", body)
    error = reply.json()["error"]
    assert (reply.status_code, error["field"]) == (400, field), reply.text
    assert error["hint"]


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe\x00", b"[" * 50_000, b'"\\ud800"'])
def test_garbage_is_refused_and_the_server_goes_on(served: Running, data: bytes) -> None:
    reply = served.client.post("/v1/predict", content=data, headers={"content-type": "application/json"})
    assert 400 <= reply.status_code < 500
    assert reply.json()["error"]["hint"]
    assert served.predict(MIXED[0])[0]["result"]


def test_unknown_address_and_method_are_told(served: Running) -> None:
    assert served.get("/v2/predict").status_code == 404
    assert served.get("/v1/predict").status_code == 405
    assert served.get("/v1/predict").json()["error"]["kind"] == "NoSuchRoute"


def test_request_keeps_its_own_id_and_gets_one_where_it_brought_none(served: Running) -> None:
    assert served.get("/healthz", **{"x-request-id": "mine-7"}).headers["x-request-id"] == "mine-7"
    assert served.get("/healthz", **{"x-request-id": "no\tgood id"}).headers["x-request-id"].startswith("req_")
    assert served.get("/healthz").headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize("value", ["soon", "0", "-5", "1e3", ""])
def test_deadline_that_is_no_number_is_400_with_the_field(served: Running, value: str) -> None:
    reply = served.post("/v1/predict", {"rows": [MIXED[0]]}, **{"x-deadline-ms": value})
    assert (reply.status_code, reply.json()["error"]["field"]) == (400, "X-Deadline-Ms")


class Held:
    """Holds a server's passes until it is told to let them go, and counts the rows that were computed."""

    def __init__(self, server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        self.has_begun, self.may_go_on, self.n_rows = threading.Event(), threading.Event(), 0
        compute: Callable[..., Any] = server.house.rows.runtime._shared.compute

        def held(rows: Any) -> Any:
            self.has_begun.set()
            assert self.may_go_on.wait(30)
            self.n_rows += len(rows)
            return compute(rows)
        monkeypatch.setattr(server.house.rows.runtime._shared, "compute", held)


@pytest.fixture
def small(tiny_base_folder: Path, tiny_settings: Settings, registry: Registry, tmp_path: Path) -> Any:
    limits = Limits(queued_rows=4, rows=8, body_bytes=20_000, body_s=0.5)
    config = ServerConfig(port=0, gather_s=0, limits=limits)
    with running(str(tiny_base_folder), registry, tmp_path, tiny_settings, config=config) as server:
        server.predict(*MIXED[:4])
        yield server


def in_background(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    return thread, results


def test_requests_that_meet_share_a_pass(small: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(small, monkeypatch)
    first, _ = in_background(lambda: small.predict(MIXED[0]))
    assert held.has_begun.wait(30)
    n_passes = small.house.rows.runtime._shared.n_passes
    threads = [in_background(lambda row=row: small.predict(row)) for row in MIXED[:4]]  # type: ignore[misc]
    wait_until(lambda: small.house.rows.batcher.state().n_rows == 4)
    held.may_go_on.set()
    for thread in (first, *(thread for thread, _ in threads)):
        thread.join()
    assert all(results[0][0]["result"] for _, results in threads)
    assert small.house.rows.runtime._shared.n_passes == n_passes + 2  # the first caller's own, and one for the four


def test_full_queue_is_429_with_retry_after_and_what_waited_is_answered(
        small: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(small, monkeypatch)
    first, _ = in_background(lambda: small.predict(MIXED[0]))
    assert held.has_begun.wait(30)
    second, answered = in_background(lambda: small.predict(*MIXED[:4]))
    wait_until(lambda: small.house.rows.batcher.state().n_rows == 4)
    reply = small.post("/v1/predict", {"rows": [MIXED[0]]})
    held.may_go_on.set()
    first.join()
    second.join()
    assert reply.status_code == 429
    assert int(reply.headers["retry-after"]) >= 1
    assert reply.json()["error"]["kind"] == "TooBusy"
    assert all(answer["result"] for answer in answered[0])


def test_row_whose_deadline_passes_while_it_waits_is_429_and_not_computed(
        small: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(small, monkeypatch)
    first, _ = in_background(lambda: small.predict(MIXED[0]))
    assert held.has_begun.wait(30)
    second, replies = in_background(
        lambda: small.post("/v1/predict", {"rows": [MIXED[0]]}, **{"x-deadline-ms": "40"}))
    second.join()
    held.may_go_on.set()
    first.join()
    assert replies[0].status_code == 429
    assert replies[0].json()["error"]["kind"] == "DeadlinePassed"
    assert "retry-after" in replies[0].headers
    wait_until(lambda: small.house.rows.batcher.state().n_rows == 0)
    assert held.n_rows == 1


def test_client_that_hangs_up_takes_its_rows_back(small: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(small, monkeypatch)
    first, _ = in_background(lambda: small.predict(MIXED[0]))
    assert held.has_begun.wait(30)
    body = b'{"rows": [{"adapter": "t/intents3", "text": "my card"}, {"adapter": "t/intents5", "text": "my card"}]}'
    with raw_connection(small) as connection:
        connection.sendall(head(len(body)) + body)
        wait_until(lambda: small.house.rows.batcher.state().n_rows == 2)
    wait_until(lambda: small.house.rows.batcher.state().n_rows == 0)
    held.may_go_on.set()
    first.join()
    wait_until(lambda: small.house.door.n_in_flight == 0)
    assert held.n_rows == 1


def test_body_that_is_half_sent_is_408(small: Running) -> None:
    with raw_connection(small) as connection:
        connection.sendall(head(5000) + b'{"rows": [')
        assert connection.recv(4096).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("sent", [b"", b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nX-Half: "])
def test_connection_that_says_too_little_is_closed(small: Running, sent: bytes) -> None:
    with raw_connection(small) as connection:
        connection.sendall(sent)
        assert connection.recv(4096) == b""
    with raw_connection(small) as connection:  # the second request of a kept connection has the same patience
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /heal")
        while received := connection.recv(4096):
            assert b"200 OK" in received or b"alive" in received


def test_head_that_does_not_end_is_cut_off(served: Running) -> None:
    with raw_connection(served) as connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(b"GET /healthz HTTP/1.1\r\nX-Long: ")
        for _ in range(64):
            connection.sendall(b"a" * 65536)
            time.sleep(0.002)
        pytest.fail("four megabytes of a head were taken")


def test_many_idle_connections_keep_nobody_from_an_answer(served: Running) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(raw_connection(served)).sendall(b"POST /v1/predict HTTP/1.1\r\n")
        assert served.predict(MIXED[0])[0]["result"]


@pytest.mark.parametrize("is_chunked", [False, True])
def test_body_that_is_too_large_is_413(small: Running, is_chunked: bool) -> None:
    data = b'{"rows": [{"text": "' + b"a" * 30_000 + b'"}]}'
    content: Any = iter([data[:10_000], data[10_000:20_000], data[20_000:]]) if is_chunked else data
    reply = small.client.post("/v1/predict", content=content, headers={"content-type": "application/json"})
    assert (reply.status_code, reply.json()["error"]["kind"]) == (413, "BodyTooLarge")


def test_request_with_too_many_rows_is_413(small: Running) -> None:
    reply = small.post("/v1/predict", {"rows": [{"adapters": ["t/intents3"] * 5, "text": "my card"}] * 2})
    assert reply.status_code == 413
    assert "10 rows, 8 are allowed" in reply.json()["error"]["message"]


def test_row_that_breaks_a_pass_harms_no_other_callers_rows(small: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    compute: Callable[..., Any] = small.house.rows.runtime._shared.compute
    held = Held(small, monkeypatch)
    first, _ = in_background(lambda: small.predict(MIXED[0]))
    assert held.has_begun.wait(30)

    def breaks(rows: Any) -> Any:
        assert all("poison" not in str(example.row) for _, example in rows)
        return compute(rows)
    threads = [in_background(lambda row=row: small.predict(row))  # type: ignore[misc]
               for row in ({"adapter": "t/intents3", "text": "poison"}, MIXED[0], MIXED[1])]
    wait_until(lambda: small.house.rows.batcher.state().n_rows == 3)
    monkeypatch.setattr(small.house.rows.runtime._shared, "compute", breaks)
    held.may_go_on.set()
    for thread in (first, *(thread for thread, _ in threads)):
        thread.join()
    poisoned, *others = (results[0][0] for _, results in threads)
    assert poisoned["error"]["status"] == 500
    assert all(other["result"] for other in others)


def test_fault_of_our_own_is_500_without_its_words_and_the_next_request_is_answered(
        small: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(small.house.rows.runtime._shared, "compute", lambda rows: 1 / 0)
        answer, = small.predict(MIXED[0])
    assert answer["error"]["status"] == 500
    assert "division" not in str(answer)
    assert small.predict(MIXED[0])[0]["result"]


def raw_connection(server: Running) -> socket.socket:
    host, _, port = server.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=30)


def head(length: int) -> bytes:
    return (f"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Content-Length: {length}\r\n\r\n").encode()
