"""The whole way of an adapter that writes: train, publish, verify, evaluate, generate, and over HTTP."""

from pathlib import Path
from typing import Any

import pytest
from command_line import Cli
from language_models import stock_lm, stock_tokens, write_language_model
from running_server import running
from tiny import PEOPLE, PLACES, Rows, write_rows

from adapterhub.bases.load import load_base
from adapterhub.registry import Registry
from adapterhub.settings import Settings

ROWS: Rows = [{"messages": [{"role": "user", "content": f"{name} {i}"},
                            {"role": "assistant", "content": f"{name} is in {place}"}]}
              for i in range(10) for name, place in zip(PEOPLE, PLACES, strict=True)]
QUESTION = "anna 3"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_language_model(tmp_path_factory.mktemp("bases") / "llama", "llama")


def test_adapter_goes_the_whole_way_from_chats_to_http(base: Path, cli: Cli, home: Path, tmp_path: Path,
                                                       tiny_settings: Settings) -> None:
    data = write_rows(tmp_path / "chats.jsonl", ROWS)
    trained = cli("train", "--task", "text-generation", "--base", base, "--data", data, "--output", tmp_path / "places",
                  "--epochs", 4, "--rank", 4, "--learning-rate", 1e-2, "--max-length", 96, "--pack", "--n-written", 2,
                  "--json").json
    assert trained["metrics"]["perplexity"] < 200  # of 259 tokens
    assert cli("publish", tmp_path / "places", "t/places").exit_code == 0
    verified = cli("verify", "t/places", "--base", base)
    assert "the probe's outputs are within" in verified.out + verified.err
    measured = cli("evaluate", "t/places", "--base", base, "--data", data, "--json").json
    assert {"perplexity", "token_accuracy", "rouge_l", "bleu"} <= metrics_in(measured).keys()
    chat = [{"role": "user", "content": QUESTION}]
    expected = written_by_stock_peft(base, tmp_path / "places", chat, tiny_settings)
    with running(load_base(str(base), cache=tiny_settings.cache), Registry(home / "registry"), tmp_path,
                 tiny_settings) as server:
        reply = server.post("/v1/chat/completions", {"model": "t/places", "messages": chat, "max_tokens": 12,
                                                     "temperature": 0}).json()
        assert reply["choices"][0]["message"]["content"] == expected
        prompt = f"user: {QUESTION}\nassistant: "
        reply = server.post("/v1/completions", {"model": "t/places", "prompt": prompt, "max_tokens": 12,
                                                "temperature": 0}).json()
        assert reply["choices"][0]["text"]


def metrics_in(measured: Any) -> dict[str, float]:
    """Return the metrics of the first adapter in what `evaluate --json` prints."""
    return dict(measured["metrics"] if "metrics" in measured else measured["adapters"][0]["metrics"])


def written_by_stock_peft(base: Path, folder: Path, chat: Any, settings: Settings) -> str:
    tokenizer = load_base(str(base), cache=settings.cache).tokenizer
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=True, return_dict=False)
    return str(tokenizer.decode(stock_tokens(stock_lm(base, folder), prompt, 12), skip_special_tokens=True))


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no user": ({"messages": [{"role": "system", "content": "be kind"}, {"role": "assistant", "content": "hi"}]},
                "row 31 has a chat without a user turn: its roles are system, assistant"),
    "no answer": ({"messages": [{"role": "user", "content": "hi"}]},
                  "row 31 has a chat that does not end with the assistant's answer: its roles are user"),
}


@pytest.mark.parametrize("name", BAD)
def test_chat_that_teaches_nothing_is_told_with_its_row(name: str, base: Path, cli: Cli, tmp_path: Path) -> None:
    row, told = BAD[name]
    data = write_rows(tmp_path / "chats.jsonl", [*ROWS, row])
    done = cli("train", "--task", "text-generation", "--base", base, "--data", data, "--output", tmp_path / "out")
    assert told in done.refusal()


def test_base_without_a_chat_template_is_told_before_training(base: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    for file in base.iterdir():
        if "chat_template" not in file.name:
            (tmp_path / "bare" / file.name).write_bytes(file.read_bytes())
    data = write_rows(tmp_path / "chats.jsonl", ROWS)
    refused = cli("train", "--task", "text-generation", "--base", tmp_path / "bare", "--data", data,
                  "--output", tmp_path / "out")
    assert "no chat template" in refused.err
    assert refused.exit_code == 2
