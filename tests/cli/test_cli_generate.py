"""`generate`: text as it is written, JSON lines of many adapters, and one sentence for every fault."""

import json
from pathlib import Path

import pytest
from command_line import Cli
from language_models import Recipe, stock_lm, stock_tokens, write_language_model, write_lora

from adapterhub.bases.load import Base, load_base
from adapterhub.settings import Settings

PROMPT = "my card"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tiny_settings: Settings) -> Base:
    return load_base(str(write_language_model(tmp_path_factory.mktemp("lm") / "base", "llama")),
                     cache=tiny_settings.cache)


@pytest.fixture(scope="module")
def folders(base: Base, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("adapters")
    return {name: write_lora(place / name, base, Recipe(seed=seed)) for seed, name in enumerate(("dragons", "pirates"))}


@pytest.fixture
def writing(cli: Cli, folders: dict[str, Path]) -> Cli:
    """The command line over a registry with stories/dragons and stories/pirates."""
    for name, folder in folders.items():
        assert cli("publish", folder, f"stories/{name}").exit_code == 0
    return cli


def expected(base: Base, folder: Path, n_new: int, prompt: str = PROMPT) -> list[int]:
    return stock_tokens(stock_lm(base.source.folder, folder), list(base.tokenizer(prompt).input_ids), n_new)


def test_text_is_what_stock_peft_writes(writing: Cli, base: Base, folders: dict[str, Path]) -> None:
    done = writing("generate", "--base", base.source.folder, "stories/dragons", PROMPT, "--max-new-tokens", 12)
    assert done.exit_code == 0, done.err
    written = base.tokenizer.decode(expected(base, folders["dragons"], 12), skip_special_tokens=True)
    assert done.out == written + "\n"


def test_json_says_which_version_wrote_and_why_it_ended(writing: Cli, base: Base, folders: dict[str, Path]) -> None:
    (row,) = writing("generate", "--base", base.source.folder, "stories/dragons", PROMPT, "--max-new-tokens", 5,
                     "--json").lines
    assert (row["version"], row["finish_reason"]) == ("stories/dragons@1", "length")
    assert row["tokens"] == expected(base, folders["dragons"], 5)


def test_rows_of_a_file_each_name_their_adapter(writing: Cli, base: Base, folders: dict[str, Path],
                                                tmp_path: Path) -> None:
    rows = [{"adapter": "stories/pirates", "prompt": "ab"}, {"prompt": "soup"},
            {"adapter": str(folders["pirates"]), "prompt": "soup"}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = writing("generate", "--base", base.source.folder, "stories/dragons", "--file", tmp_path / "rows.jsonl",
                    "--max-new-tokens", 6).lines
    assert [line["tokens"] for line in lines] == [
        expected(base, folders[name], 6, text) for name, text in (("pirates", "ab"), ("dragons", "soup"),
                                                                  ("pirates", "soup"))]


def test_draws_follow_the_seed_and_a_stop_text_ends_the_row(writing: Cli, base: Base) -> None:
    def drawn(*more: object) -> str:
        done = writing("generate", "--base", base.source.folder, "stories/dragons", PROMPT, "--max-new-tokens", 30,
                       "--temperature", 1.5, "--top-p", 0.95, *more)
        assert done.exit_code == 0, done.err
        return done.out.removesuffix("\n")
    first = drawn("--seed", 3)
    assert drawn("--seed", 3) == first
    assert drawn("--seed", 4) != first
    stop = first[6:9]
    assert drawn("--seed", 3, "--stop", stop) == first[:first.index(stop)]


@pytest.mark.parametrize(("arguments", "sentence"), [
    (("stories/dragon", PROMPT), "No adapter 'stories/dragon'"),
    (("stories/dragons", "  "), "the prompt: A row for text-generation has no prompt"),
    (("stories/dragons", "x" * 500), "the prompt: The prompt has 501 tokens"),
    (("stories/dragons", PROMPT, "--temperature", "-1"), "temperature is -1.0, expected at least 0"),
    (("stories/dragons", PROMPT, "--top-p", "2"), "top_p is 2.0"),
    (("--file", "nowhere.jsonl"), "No such file: nowhere.jsonl")])
def test_fault_is_one_sentence_before_any_text(arguments: tuple[str, ...], sentence: str, writing: Cli,
                                               base: Base) -> None:
    assert sentence in writing("generate", "--base", base.source.folder, *arguments).refusal()


def test_base_that_writes_no_text_is_refused(writing: Cli, tiny_base_folder: Path) -> None:
    refused = writing("generate", "--base", tiny_base_folder, "stories/dragons", PROMPT).refusal()
    assert "no language-model head" in refused


def test_adapter_of_another_base_is_refused_before_any_text(writing: Cli, tmp_path: Path) -> None:
    other = write_language_model(tmp_path / "other", "llama", seed=5)
    assert "was trained on base" in writing("generate", "--base", other, "stories/dragons", PROMPT).refusal()


@pytest.mark.parametrize("arguments", [(), ("stories/dragons",), ("stories/dragons", PROMPT, "--file", "rows.jsonl")])
def test_what_to_write_must_be_given_once(arguments: tuple[str, ...], cli: Cli, base: Base) -> None:
    done = cli("generate", "--base", base.source.folder, *arguments)
    assert done.exit_code == 2
    assert "Give a" in done.err
