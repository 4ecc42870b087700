"""A real S3 protocol server on loopback: moto, with the one guarantee of S3 that it lacks.

S3 decides a conditional put in one step; moto looks and then writes. One lock over the server's requests
gives it what S3 promises.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

REGION = "us-east-1"


class S3Server:
    """A server in a thread of this process; `fails_after` lets it break off."""

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._application = DomainDispatcherApplication(create_backend_app)
        self._one_at_a_time = threading.Lock()
        self.requests_left: int | None = None
        """After so many requests every further one is answered as a server that is going down; None: never."""
        self.cuts_answers = False
        """Whether the connection breaks off in the middle of each answer."""
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def environment(self) -> dict[str, str]:
        """Return the variables by which every S3 client finds it."""
        return {"AWS_ENDPOINT_URL": self.url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}

    def create_bucket(self, name: str) -> None:
        """Create a bucket."""
        import boto3

        client = boto3.client("s3", endpoint_url=self.url, region_name=REGION, aws_access_key_id="test",
                              aws_secret_access_key="test")
        client.create_bucket(Bucket=name)
        client.close()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        with self._one_at_a_time:
            if self.requests_left is not None:
                if self.requests_left <= 0:
                    start("503 Slow Down", [("Content-Length", "0")])
                    return [b""]
                self.requests_left -= 1
            answer = b"".join(self._application(environment, start))
            return [answer[:10] if self.cuts_answers else answer]


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run a server for a block."""
    server = S3Server()
    try:
        yield server
    finally:
        server.close()
