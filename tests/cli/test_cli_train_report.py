"""train --report: a page about the run, beside the folder or where it is asked for."""

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Cli, Ran


@pytest.fixture
def train(cli: Cli, tiny_base_folder: Path, tiny_rows: dict[str, Path], tmp_path: Path) -> Callable[..., Ran]:
    def run(*options: object) -> Ran:
        return cli("train", "--task", "text-classification", "--data", tiny_rows["intents3"], "--output",
                   tmp_path / "out", "--base", tiny_base_folder, "--epochs", 1, "--max-length", 32, "--rank", 2,
                   *options)
    return run


def test_page_lies_beside_the_folder_with_figures_curve_and_facts(train: Callable[..., Ran], tmp_path: Path) -> None:
    ran = train()
    assert ran.exit_code == 0, ran.err
    page = tmp_path / "out-report.html"
    assert f"Wrote {page}" in ran.out
    text = page.read_text(encoding="utf-8")
    for told in ("95 % interval", "Scores per class", "Learning curve", "Data and cost", "trained parameters",
                 "tokens of 95%", "learning_rate", "data:image/svg+xml"):
        assert told in text
    assert not list((tmp_path / "out").glob("*.html")), "the folder holds what is published, and nothing else"


def test_page_goes_where_it_is_asked_for_or_nowhere(train: Callable[..., Ran], tmp_path: Path) -> None:
    told = train("--report", tmp_path / "pages" / "run.md", "--json").json
    assert (tmp_path / "pages" / "run.md").read_text(encoding="utf-8").startswith("# out: text-classification")
    assert told["intervals"].keys() >= told["metrics"].keys()
    assert not (tmp_path / "out-report.html").exists()


def test_no_page_is_written_where_none_is_wanted(train: Callable[..., Ran], tmp_path: Path) -> None:
    assert train("--no-report").exit_code == 0
    assert (tmp_path / "out").is_dir()
    assert not list(tmp_path.rglob("*.html"))


def test_a_page_that_cannot_be_is_refused_before_training(train: Callable[..., Ran], tmp_path: Path) -> None:
    assert "run.pdf: .pdf is none of .html, .htm, .md" in train("--report", tmp_path / "run.pdf").refusal()
    assert list(tmp_path.iterdir()) == []
