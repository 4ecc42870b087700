"""`diff`, `merge`, `convert`, `export` and `show --tree` at the command line."""

from pathlib import Path

import pytest
from adapter_folders import write_adapter_folder
from command_line import Cli


def test_diff_prints_what_differs_with_the_largest_layers_first(published: Cli) -> None:
    done = published("diff", "support/intents@1", "support/intents@2", "--layers", "1")
    assert done.exit_code == 0
    assert "Change of each layer, Frobenius norms (1 of 2)" in done.out
    assert "all layers" in done.out
    assert "3 labels in both." in done.out
    assert "classifier.weight" in done.out


def test_diff_as_json_has_every_layer(published: Cli, tmp_path: Path) -> None:
    folder = write_adapter_folder(tmp_path / "folder", seed=2)
    found = published("diff", "support/intents@1", folder, "--json").json
    assert len(found["layers"]) == 2
    assert found["whole"]["difference_norm"] > 0
    assert found["not_compared"] == []


@pytest.mark.parametrize("arguments", [("support/intents", "support/absent"), ("nowhere", "support/intents")])
def test_diff_of_what_is_not_there_is_refused(published: Cli, arguments: tuple[str, str]) -> None:
    assert published("diff", *arguments).refusal()
