"""Requests made up from the OpenAPI page, by schemathesis: none meets a fault of ours, none contradicts the page."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from language_models import Recipe, write_language_model, write_lora
from running_server import Running, running
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from adapterhub.bases.load import load_base
from adapterhub.registry import Registry
from adapterhub.server.config import Limits, ServerConfig
from adapterhub.settings import Settings

CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]
MODEST = settings(max_examples=12, deadline=None, database=None, derandomize=True,
                  suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def writes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server whose base writes, a few tokens at most."""
    place = tmp_path_factory.mktemp("fuzzed")
    settings_ = Settings(registry=str(place / "registry"), cache=place / "cache", data=None, shipped_registry=None)
    base = load_base(str(write_language_model(place / "base", "llama")), cache=settings_.cache)
    registry = Registry(place / "registry")
    registry.publish(write_lora(place / "two", base, Recipe(rank=2, seed=1)), "t/two")
    config = ServerConfig(port=0, limits=Limits(new_tokens=3))
    with running(base, registry, place, settings_, config=config) as server:
        yield server


@pytest.fixture(scope="module")
def page_that_reads(served: Running) -> Any:
    return page_of(served, "t/intents3", "support/banking77", "support/intents@production", "medical/medquad")


@pytest.fixture(scope="module")
def page_that_writes(writes: Running) -> Any:
    return page_of(writes, "t/two", "stories/dragons", "support/replies", "support/banking77")


def page_of(server: Running, own: str, *shown: str) -> Any:
    """Return the OpenAPI page with the adapters of its examples replaced by one that is there."""
    text = server.get("/openapi.json").text
    for name in shown:
        text = text.replace(f'"{name}"', f'"{own}"')
    page = schemathesis.openapi.from_dict(json.loads(text))
    page.config.update(base_url=server.url)
    return page


def hold(page: Any) -> int:
    """Ask every operation of a page for what it says it takes, and for what it does not; return how many there are."""
    n_operations = 0
    for found in page.get_all_operations():
        operation = found.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            @MODEST
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                case.call_and_validate(checks=CHECKS)
            with contextlib.suppress(Unsatisfiable):  # an operation without input has no wrong one
                ask()
        n_operations += 1
    return n_operations


def test_base_that_reads_keeps_to_its_page(page_that_reads: Any) -> None:
    assert hold(page_that_reads) == 17


def test_base_that_writes_keeps_to_its_page(page_that_writes: Any) -> None:
    assert hold(page_that_writes) == 17


def test_page_is_complete_with_examples(served: Running) -> None:
    page = served.get("/openapi.json").json()
    for path, operations in page["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (path, method)
            assert path in ("/healthz", "/readyz", "/metrics") or {"400", "404", "429", "503"} <= set(
                operation["responses"]), (path, method)
    bodies = [body for name, body in page["components"]["schemas"].items() if name.endswith("Request")]
    assert len(bodies) == 6
    assert all(body.get("examples") for body in bodies)
    assert Path(served.registry.where).name not in str(page["paths"])
