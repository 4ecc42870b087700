"""The whole way: answered, corrected over HTTP, retrained at the command line, and served a moment later."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from running_server import running, wait_until
from tiny import intent_rows, write_rows

from adapterhub.cli.main import main
from adapterhub.registry import Limits, Registry
from adapterhub.server.config import FeedbackConfig, ServerConfig
from adapterhub.settings import Settings


@pytest.mark.parametrize("is_json", [True, False])
def test_corrections_of_callers_become_the_version_that_answers_them(
        train_tiny: Callable[..., Path], tiny_base_folder: Path, tiny_settings: Settings, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch, is_json: bool) -> None:
    monkeypatch.setattr("adapterhub.settings._shipped_registry", lambda: None)
    rows = write_rows(tmp_path / "rows.jsonl", intent_rows(3, 21))
    registry = Registry(tmp_path / "registry")
    registry.publish(train_tiny(tmp_path / "first", "text-classification", str(rows), rank=4), "t/intents")
    registry.promote("t/intents", "production")
    registry.set_gate("t/intents", "production", Limits(metric="accuracy", max_drop=0.3), rows)
    place = tmp_path / "feedback.sqlite3"
    config = ServerConfig(port=0, follow_s=0.1, feedback=FeedbackConfig(place=str(place), stores_inputs=True))
    texts = [f"{filler} hotel {more}" for filler in ("the", "my", "new") for more in ("", "please", "rome")]
    with running(str(tiny_base_folder), registry, tmp_path, tiny_settings, config=config) as server:
        asked = [{"adapter": "t/intents@production", "text": text} for text in texts]
        for answer in server.predict(*asked):
            assert server.post("/v1/feedback", {"id": answer["id"], "label": "travel"}).json()["is_new"]
        arguments = ["retrain", "t/intents", "--data", rows, "--feedback", place, "--registry", registry.where,
                     "--epochs", "6", "--learning-rate", "0.01", "--base", tiny_base_folder,
                     *(["--json"] if is_json else [])]
        done = CliRunner(env={"ADAPTERHUB_CACHE": str(tiny_settings.cache)}).invoke(main, list(map(str, arguments)))
        assert done.exit_code == 0, done.stderr
        wait_until(lambda: server.predict(asked[0])[0]["version"] == "t/intents@2")
        labels = [answer["result"]["label"] for answer in server.predict(*asked)]
    assert labels == ["travel"] * len(texts)
    if is_json:
        told = json.loads(done.stdout)
        assert (told["from"], told["version"], told["corrections"]["learned"]) == ("t/intents@1", "t/intents@2", 9)
        assert set(told["figures"]) == {"test rows"}
    else:
        assert "Published t/intents@2; t/intents@production points to it." in done.stdout
        assert "9 corrections learned" in done.stdout
