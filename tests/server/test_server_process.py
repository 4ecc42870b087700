"""`adapterhub serve` as a real process: ready, asked, told to end, killed; refusals before anything listens."""

import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from running_server import running, wait_until
from server_process import Process

from adapterhub.errors import InvalidConfig
from adapterhub.registry import Registry
from adapterhub.server.config import ServerConfig
from adapterhub.server.listening import bind
from adapterhub.server.tokens import Tokens
from adapterhub.settings import Settings

ROW = {"adapter": "t/intents3", "text": "my card"}


@pytest.fixture
def place(tiny_adapters: dict[str, Path], tmp_path: Path) -> Path:
    """A home with a registry of t/intents3."""
    Registry(tmp_path / "registry").publish(tiny_adapters["intents3"], "t/intents3")
    return tmp_path


@pytest.fixture
def started(place: Path, tiny_base_folder: Path) -> Iterator[Any]:
    """Start servers in that home: `started("--drain", 5)`."""
    processes: list[Process] = []

    def start(*arguments: object, socket_number: int | None = None) -> Process:
        processes.append(Process(place, tiny_base_folder, *arguments, socket_number=socket_number))
        return processes[-1]
    yield start
    for process in processes:
        process.stop()


def test_whole_way_with_tokens_over_tls(started: Any, place: Path) -> None:
    certificate, key = certificate_for_loopback(place)
    token, _ = Tokens(place / "tokens").create("a test", ("predict", "manage"))
    server = started("--host", "0.0.0.0", "--certificate", certificate, "--key", key)
    url = server.url.replace("0.0.0.0", "127.0.0.1")
    assert url.startswith("https://")
    headers = {"authorization": f"Bearer {token}"}
    with httpx2.Client(base_url=url, verify=ssl.create_default_context(cafile=certificate), timeout=60) as client:
        assert client.get("/readyz").json() == {"status": "ready"}
        assert client.post("/v1/predict", json={"rows": [ROW]}).status_code == 401
        reply = client.post("/v1/predict", json={"rows": [ROW]}, headers=headers)
        assert reply.json()["answers"][0]["version"] == "t/intents3@1"
        assert 'adapterhub_rows_total{adapter="t/intents3"' in client.get("/metrics", headers=headers).text
    server.process.send_signal(signal.SIGTERM)
    assert server.end() == 0
    requests = [event for event in server.events if event["event"] == "request"]
    assert {event["status"] for event in requests} == {200, 401}
    assert all({"request_id", "route", "ms", "token"} <= event.keys() for event in requests)
    assert "my card" not in "".join(server.told)
    assert token not in "".join(server.told)


def test_told_to_end_it_answers_what_runs_and_refuses_what_comes(started: Any) -> None:
    server = started("--gather-ms", 1500)
    with httpx2.Client(base_url=server.url, timeout=60) as client, httpx2.Client(base_url=server.url,
                                                                                timeout=60) as other:
        assert other.get("/readyz").status_code == 200
        replies: list[httpx2.Response] = []
        running = threading.Thread(target=lambda: replies.append(client.post("/v1/predict", json={"rows": [ROW]})))
        running.start()
        threading.Event().wait(0.5)
        server.process.send_signal(signal.SIGTERM)
        server.event("draining")
        refused, ready, alive = (other.post("/v1/predict", json={"rows": [ROW]}), other.get("/readyz"),
                                 other.get("/healthz"))
        running.join()
    assert replies[0].json()["answers"][0]["result"]["label"]
    assert (refused.status_code, refused.json()["error"]["kind"]) == (503, "Unavailable")
    assert "retry-after" in refused.headers
    assert (ready.status_code, alive.status_code) == (503, 200)
    assert server.end() == 0


def test_next_process_takes_over_a_socket_that_is_passed_on_and_no_request_fails(started: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        first = started(socket_number=held.fileno())
        first.event("serving")
        answers: list[int] = []
        is_over = threading.Event()

        def ask(is_kept: bool) -> None:
            kept = httpx2.Client(base_url=url, timeout=60)
            while not is_over.is_set():
                client = kept if is_kept else httpx2.Client(base_url=url, timeout=60)
                answers.append(client.post("/v1/predict", json={"rows": [ROW]}).status_code)
                if not is_kept:
                    client.close()
            kept.close()
        threads = [threading.Thread(target=ask, args=(is_kept,)) for is_kept in (True, False)]
        for thread in threads:
            thread.start()
        second = started(socket_number=held.fileno())
        second.event("serving")
        first.process.send_signal(signal.SIGTERM)
        assert first.end() == 0
        n_before = len(answers)
        wait_until(lambda: len(answers) > n_before + 20)
        is_over.set()
        for thread in threads:
            thread.join()
    assert set(answers) == {200}
    assert any(event["event"] == "request" for event in second.events)


def test_socket_that_is_passed_on_and_open_to_others_needs_a_token_too(started: Any) -> None:
    with socket.create_server(("0.0.0.0", 0)) as held:
        server = started(socket_number=held.fileno())
        assert server.end() == 2
    assert "adapterhub token create" in server.told[0]


def test_drain_has_an_end(place: Path, tiny_base_folder: Path, tiny_settings: Settings) -> None:
    config = ServerConfig(port=0, gather_s=3600.0, drain_s=0.3)
    with running(str(tiny_base_folder), Registry(place / "registry"), place, tiny_settings, config=config) as server:
        replies: list[Any] = []

        def ask() -> None:
            try:
                replies.append(server.post("/v1/predict", {"rows": [ROW]}).status_code)
            except httpx2.HTTPError as error:
                replies.append(error)
        asking = threading.Thread(target=ask)
        asking.start()
        wait_until(lambda: server.house.rows is not None and server.house.rows.batcher.state().n_rows == 1)
        server.server.handle_exit(signal.SIGTERM, None)
        asking.join(30)
        assert not asking.is_alive()
    assert replies[0] != 200  # it would have waited an hour


@pytest.mark.parametrize(("arguments", "told"), [
    (("--host", "0.0.0.0"), "adapterhub token create"),
    (("--host", "256.1.1.1"), "adapterhub token create"),
    (("--certificate", "missing.pem"), "only one was given"),
    (("--follow", "0"), "follow_s is 0"), (("--max-rows", "0"), "rows is 0"), (("--rate", "-1"), "rows_per_s is -1"),
    (("--slots", "0"), "slots_bytes is 0"), (("--keep-texts", "0"), "texts_days is 0"),
    (("--feedback", "none", "--store-inputs"), "keeps nothing"), (("--feedback", "nosuch://x"), "cannot be opened"),
    (("--store-inputs", "--phone-regions", "XX"), "'XX' is no country"), (("--traces", "nowhere"), "no address"),
])
def test_refusal_is_one_sentence_and_exit_code_2(started: Any, arguments: tuple[str, ...], told: str) -> None:
    server = started(*arguments)
    assert server.end() == 2
    assert len(server.told) == 1
    assert server.told[0].startswith("Error: ")
    assert told in server.told[0]


def test_host_that_is_none_of_this_machines_is_told(place: Path) -> None:
    for host in ("192.0.2.7", "no such host"):
        with pytest.raises(InvalidConfig, match=f"Cannot listen on {host} port 0"):
            bind(ServerConfig(host=host, port=0))


def test_port_that_is_taken_is_told_before_the_base_is_loaded(started: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = started("--port", taken.getsockname()[1])
        assert server.end() == 2
        assert "Give another --host or --port" in server.told[0]


def certificate_for_loopback(place: Path) -> tuple[Path, Path]:
    """Write a certificate of its own making for 127.0.0.1, and its key."""
    import ipaddress
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(UTC)
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
            .add_extension(x509.KeyUsage(True, False, False, False, False, True, True, False, False), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                           critical=False).sign(key, hashes.SHA256()))
    certificate_file, key_file = place / "certificate.pem", place / "key.pem"
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                           serialization.NoEncryption()))
    return certificate_file, key_file
