"""evaluate: intervals, pages, and several adapters on the same rows."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Cli


@pytest.fixture(scope="session")
def other_intents(train_tiny: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny(tmp_path_factory.mktemp("more") / "intents", "text-classification", "intents3", rank=4, epochs=6)


@pytest.fixture
def on_rows(cli: Cli, tiny_base_folder: Path, tiny_rows: dict[str, Path]) -> Callable[..., object]:
    def run(*arguments: object, rows: str = "intents3") -> object:
        return cli("evaluate", *arguments, "--data", tiny_rows[rows], "--base", tiny_base_folder)
    return run


def test_one_adapter_is_told_with_intervals_and_its_worst_rows(on_rows: Callable[..., object],
                                                               tiny_adapters: dict[str, Path]) -> None:
    told = on_rows(tiny_adapters["query-only"], "--json").json
    low, high = told["intervals"]["accuracy"]
    assert low <= told["metrics"]["accuracy"] <= high
    assert low < high
    assert 0 <= told["expected_calibration_error"] <= 1
    shown = on_rows(tiny_adapters["query-only"]).out
    for title in ("95 % interval", "Scores per class", "Most certainly wrong", "Calibration"):
        assert title in shown


def test_several_adapters_are_compared_in_pairs(on_rows: Callable[..., object], tiny_adapters: dict[str, Path],
                                                other_intents: Path) -> None:
    folders = [str(tiny_adapters["query-only"]), str(tiny_adapters["intents3"]), str(other_intents)]
    told = on_rows(*folders, "--json").json
    assert [own["adapter"] for own in told["adapters"]] == folders
    assert {(own["first"], own["second"]) for own in told["differences"]} == {
        (folders[0], folders[1]), (folders[0], folders[2]), (folders[1], folders[2])}
    for own in told["differences"]:
        low, high = own["interval"]
        assert (own["better"] is None) == (low <= 0 <= high)
    alone = on_rows(folders[2], "--json").json
    assert told["adapters"][2] == alone, "measured beside others as alone"
    shown = on_rows(*folders).out
    assert "McNemar" in shown
    assert "not larger than chance" in shown or "is better" in shown


def test_page_is_written_where_it_is_asked_for(on_rows: Callable[..., object], tiny_adapters: dict[str, Path],
                                               tmp_path: Path) -> None:
    ran = on_rows(tiny_adapters["entities"], "--report", tmp_path / "page.html", rows="entities")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"Wrote {tmp_path / 'page.html'}" in ran.out
    for title in ("What became of each entity", "Scores per entity", "What was measured", "data:image/svg+xml"):
        assert title in text


def test_page_and_json_do_not_disturb_each_other(on_rows: Callable[..., object], tiny_adapters: dict[str, Path],
                                                 tmp_path: Path) -> None:
    ran = on_rows(tiny_adapters["pairs"], "--report", tmp_path / "page.md", "--json", rows="pairs")
    assert json.loads(ran.out)["metrics"].keys() == {"mrr", "recall_at_1"}
    assert (tmp_path / "page.md").read_text(encoding="utf-8").startswith("# ")


def test_what_cannot_be_compared_is_refused_before_anything_is_measured(
        on_rows: Callable[..., object], tiny_adapters: dict[str, Path], tmp_path: Path) -> None:
    intents, entities = tiny_adapters["intents3"], tiny_adapters["entities"]
    refusals = {
        "Compare adapters of one task": on_rows(intents, entities),
        "is given twice": on_rows(intents, intents),
        "no suffix is none of .html, .htm, .md": on_rows(intents, "--report", tmp_path / "page"),
        f"{intents}: Labels ['food', 'sport'] are not": on_rows(tiny_adapters["intents5"], intents, rows="intents5")}
    for told, ran in refusals.items():
        assert told in ran.refusal(), ran.err
    assert not (tmp_path / "page").exists()
