"""search-hyperparameters at the command line: from rows to a published adapter, with its study and page."""

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Cli, Ran

from adapterhub.adapter.folder import read_folder


@pytest.fixture
def find(cli: Cli, tiny_base_folder: Path, tiny_rows: dict[str, Path], tmp_path: Path) -> Callable[..., Ran]:
    def run(*options: object) -> Ran:
        return cli("search-hyperparameters", "--task", "text-classification", "--data", tiny_rows["intents3"],
                   "--output", tmp_path / "out", "--base", tiny_base_folder, "--epochs", 1, "--max-length", 32,
                   *options)
    return run


def test_best_is_published_with_a_page_and_a_study_beside_it(find: Callable[..., Ran], home: Path,
                                                             tmp_path: Path) -> None:
    (tmp_path / "search.toml").write_text('[space]\nlearning_rate = {low = 1e-3, high = 1e-1, log = true}\n')
    told = find("--config", tmp_path / "search.toml", "--space", "rank=2|4", "--trials", 4, "--publish", "t/found",
                "--json").json
    assert told["published"] == "t/found@1"
    assert len(told["trials"]) == 4
    published = home / "registry" / "t" / "found" / "versions" / "1"
    own = read_folder(published).manifest.training.hyperparameters
    assert {name: own[name] for name in told["best"]["params"]} == told["best"]["params"]
    text = (tmp_path / "out-report.html").read_text(encoding="utf-8")
    for part in ("Trials", "is the best", "learning_rate and accuracy", "Scores per class"):
        assert part in text
    assert (tmp_path / "out.search" / "study.db").is_file()


def test_trials_are_shown_as_a_table(find: Callable[..., Ran], tmp_path: Path) -> None:
    ran = find("--space", "rank=2|4", "--trials", 2)
    assert ran.exit_code == 0, ran.err
    for told in ("complete", "rank", "Best: trial", f"Wrote {tmp_path / 'out'}."):
        assert told in ran.out


@pytest.mark.parametrize(("options", "told"), [
    (("--space", "rate=1:2"), "Unknown setting to search 'rate'"),
    (("--space", "rank=0|4"), "The space has rank 0: rank is 0, expected 1 to 256"),
    (("--space", "targets=all-linear|nonesuch"), "'nonesuch'"),
    (("--metric", "f7"), "'f7'; known: accuracy, macro_f1"),
    (("--publish", "nothing"), "nothing"),
    (("--report", "page.pdf"), "page.pdf"),
])
def test_bad_input_is_told_before_anything_is_written(find: Callable[..., Ran], tmp_path: Path,
                                                      options: tuple[str, ...], told: str) -> None:
    assert told in find(*options).refusal()
    assert list(tmp_path.iterdir()) == []


def test_live_table_shows_the_newest_trials(tmp_path: Path) -> None:
    from adapterhub.cli.search_hyperparameters import board
    from adapterhub.searching.study import TrialFacts

    trials = [TrialFacts(number=i + 1, state="running" if i == 39 else "complete", value=0.5, params={"rank": 4},
                         values={1: 0.4}) for i in range(40)]
    table = board(trials)
    assert table.row_count == 25
    assert table.title == "40 trials"
