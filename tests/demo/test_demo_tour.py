"""The demo's six steps on a tiny base: everything it says was measured, and lies on the disk."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from rich.console import Console

from adapterhub.demo.figures import DemoFigures
from adapterhub.demo.plan import ENTITIES, INTENTS, DemoPlan, MixedRow
from adapterhub.demo.tour import run_demo
from adapterhub.errors import AdapterNotFound, DataError
from adapterhub.registry import Registry
from adapterhub.settings import Settings

OWN = (MixedRow(what="intent", reference=f"{INTENTS}@production", row="my card"),
       MixedRow(what="intent", reference=f"{INTENTS}@production", row="the loan please"),
       MixedRow(what="entities", reference=f"{ENTITIES}@production", row="anna is new"))
SHIPPED = (
    MixedRow(what="topic", reference="a/intents3", row="my card"),
    MixedRow(what="topic", reference="a/intents5", row="the soup"),
    MixedRow(what="topic", reference="a/query-only", row="the loan"),
    MixedRow(what="matched answer", reference="a/pairs", row={"query": "where is card", "candidates": ["a", "b"]}),
)


class Toured(NamedTuple):
    plan: DemoPlan
    figures: DemoFigures
    shown: str


@pytest.fixture(scope="module")
def shipped(tiny_adapters: dict[str, Path], tiny_settings: Settings,
            tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings whose shipped registry has four adapters for the tiny base."""
    place = tmp_path_factory.mktemp("shipped")
    for row in SHIPPED:
        Registry(place).publish(tiny_adapters[row.reference.removeprefix("a/")], row.reference)
    return replace(tiny_settings, shipped_registry=place)


@pytest.fixture(scope="module")
def toured(shipped: Settings, tiny_base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Toured:
    plan = DemoPlan(output=tmp_path_factory.mktemp("demo") / "out", base=str(tiny_base_folder), batch_size=64,
                    intents_epochs=1, entities_epochs=1, second_epochs=1, compared_epochs=1, requests_per_phase=5,
                    own_rows=OWN, shipped_rows=SHIPPED)
    with pytest.MonkeyPatch.context() as patch:
        shown = patch_console(patch)
        return Toured(plan, run_demo(plan, shipped), shown())


def patch_console(patch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Let the demo print into a string; return how to read it."""
    buffer = io.StringIO()
    patch.setattr("adapterhub.demo.tour.Console", lambda **_: Console(file=buffer, width=200))
    return buffer.getvalue


def test_two_adapters_and_a_second_version_are_published(toured: Toured) -> None:
    registry = Registry(toured.plan.output / "registry")
    assert [trained.reference for trained in toured.figures.trained] == [f"{INTENTS}@1", f"{ENTITIES}@1",
                                                                        f"{INTENTS}@2"]
    for trained in toured.figures.trained:
        version = registry.resolve(trained.reference)
        assert (version.digest, version.size_bytes) == (trained.digest, trained.size_bytes)
        manifest = registry.read(version).manifest
        assert all(manifest.metric(name) == value for name, value in trained.metrics.items())
    assert registry.read(f"{INTENTS}@2").manifest.parents == [f"sha256:{toured.figures.trained[0].digest}"]


def test_mixed_rows_come_from_six_adapters_in_one_pass(toured: Toured) -> None:
    mixed = toured.figures.mixed
    assert (mixed.n_passes, mixed.n_adapters) == (1, 6)
    assert [answer["version"] for answer in mixed.answers] == [
        f"{INTENTS}@1", f"{INTENTS}@1", f"{ENTITIES}@1", "a/intents3@1", "a/intents5@1", "a/query-only@1", "a/pairs@1"]
    assert "7 rows of 6 adapters were answered in 1 pass through the base" in toured.shown
    assert all(answer["digest"][:12] in toured.shown for answer in mixed.answers)


def test_no_request_failed_while_production_moved_and_went_back(toured: Toured) -> None:
    swap = toured.figures.swap
    assert swap.failures == []
    assert [phase.version for phase in swap.phases] == [f"{INTENTS}@1", f"{INTENTS}@2", f"{INTENTS}@1"]
    assert swap.n_requests == swap.phases[-1].last >= 15
    assert f"{swap.n_requests} requests, 0 failed" in toured.shown
    assert Registry(toured.plan.output / "registry").resolve(f"{INTENTS}@production").version == 1


def test_saving_is_that_of_the_two_arms(toured: Toured, tiny_base_folder: Path) -> None:
    figures = toured.figures
    assert figures.adapter.trained_parameters < figures.full.trained_parameters
    assert figures.adapter.n_steps == figures.full.n_steps
    base_bytes = (tiny_base_folder / "model.safetensors").stat().st_size
    for line in figures.scale:
        assert line.adapters.disk_bytes == base_bytes + line.n_tasks * figures.adapter.disk_bytes
        assert line.full.disk_bytes == line.n_tasks * figures.full.disk_bytes
    assert [line.n_tasks for line in figures.scale] == [1, 10, 100]


def test_steps_are_told_in_order_and_reports_once(toured: Toured) -> None:
    places = [toured.shown.index(f"\n{number}. ") for number in range(1, 7)]
    assert places == sorted(places)
    assert toured.shown.count("per class") == 2
    assert toured.shown.count("per entity") == 1
    assert "per tag" not in toured.shown


def test_figures_are_plain_values(toured: Toured) -> None:
    assert json.loads(json.dumps(toured.figures.to_dict()))["swap"]["failures"] == []


def test_output_of_something_else_is_left_alone(shipped: Settings, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(DataError, match="holds something that is not an earlier demo's"):
        run_demo(DemoPlan(output=tmp_path, shipped_rows=SHIPPED), shipped)
    assert (tmp_path / "mine.txt").read_text() == "kept"


def test_too_few_shipped_adapters_are_told_before_anything_is_written(tiny_settings: Settings, shipped: Settings,
                                                                      tmp_path: Path) -> None:
    wanted = (*SHIPPED[:3], MixedRow(what="topic", reference="a/absent", row="x"))
    for settings, told in ((shipped, "finds 3; missing are a/absent"), (tiny_settings, "finds 0; missing are a/int")):
        with pytest.raises(AdapterNotFound, match=told):
            run_demo(DemoPlan(output=tmp_path / "out", shipped_rows=wanted), settings)
    assert not (tmp_path / "out").exists()
