"""Language models of five families learn to write: trained, stored, proved, measured and served, all ways alike."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from language_models import TWO_PART, stock_lm, stock_tokens, write_language_model
from safetensors.torch import load_file
from tiny import PEOPLE, PLACES, Rows, write_rows

from adapterhub.adapter.folder import AdapterFolder, read_folder
from adapterhub.adapter.peft_config import WEIGHTS_FILE
from adapterhub.bases.load import Base, load_base
from adapterhub.data.split import SplitPlan, split_rows
from adapterhub.errors import BaseNotFound, DataError, InvalidConfig, PredictionError
from adapterhub.registry import Registry
from adapterhub.runtime.engine import Runtime
from adapterhub.runtime.generation.engine import Generator
from adapterhub.runtime.generation.row import Generated
from adapterhub.runtime.generation.settings import GenerationSettings
from adapterhub.runtime.measure import evaluate_adapter, verify_probe
from adapterhub.settings import Settings
from adapterhub.training.config import TrainConfig
from adapterhub.training.run import TrainResult, run_training

FAMILIES = ("llama", "gpt2", "qwen2", "t5", "bart")
ROWS: Rows = [{"prompt": f"{name} {i}", "completion": f" {name} is in {PLACES[k]}"}
              for i in range(10) for k, name in enumerate(PEOPLE)]
CHATS: Rows = [{"messages": [{"role": "user", "content": row["prompt"]},
                             {"role": "assistant", "content": row["completion"]}]} for row in ROWS]
TEXTS: Rows = [{"text": row["prompt"] + row["completion"]} for row in ROWS]


@dataclass
class Trained:
    """One family's base with an adapter that was trained for it and published."""

    base: Base
    folder: AdapterFolder
    result: TrainResult
    registry: Registry
    data: Path
    settings: Settings


def config_of(place: Path, base: Base, data: Path, **changes: Any) -> TrainConfig:
    given: dict[str, Any] = {"task": task_of(base), "data": str(data), "output": place / "out", "rank": 4,
                             "base": str(base.source.folder), "epochs": 3, "batch_size": 4, "learning_rate": 1e-2,
                             "max_length": 64, "dtype": "float32"}
    return TrainConfig(**(given | changes))


def task_of(base: Base) -> str:
    return "text2text-generation" if base.config.is_encoder_decoder else "text-generation"


@pytest.fixture(scope="module")
def base_of(tmp_path_factory: pytest.TempPathFactory, tiny_settings: Settings) -> Callable[[str], Base]:
    made: dict[str, Base] = {}

    def find(family: str) -> Base:
        if family not in made:
            folder = write_language_model(tmp_path_factory.mktemp("bases") / family, family)
            made[family] = load_base(str(folder), cache=tiny_settings.cache)
        return made[family]
    return find


@pytest.fixture(scope="module", params=FAMILIES)
def trained(request: pytest.FixtureRequest, base_of: Callable[[str], Base], tmp_path_factory: pytest.TempPathFactory,
            tiny_settings: Settings) -> Trained:
    base, place = base_of(request.param), tmp_path_factory.mktemp(f"trained-{request.param}")
    data = write_rows(place / "rows.jsonl", ROWS)
    result = run_training(config_of(place, base, data), tiny_settings)
    registry = Registry(place / "registry")
    registry.publish(place / "out", "t/places")
    return Trained(base, read_folder(place / "out"), result, registry, data, tiny_settings)


def test_loss_falls_and_the_base_s_own_head_stays(trained: Trained) -> None:
    losses = trained.result.outcome.losses
    assert losses[-1] < 0.95 * losses[0]
    tensors = load_file(trained.folder.path / WEIGHTS_FILE)
    assert all("lora_" in name for name in tensors)
    assert trained.folder.manifest.head.modules == trained.folder.manifest.labels == []


def test_card_and_manifest_hold_figures_of_tokens_and_of_what_was_written(trained: Trained) -> None:
    figures = {metric.name: metric for metric in trained.folder.manifest.metrics if metric.split == "test"}
    assert list(figures) == ["perplexity", "loss", "token_accuracy", "exact_match", "rouge_1", "rouge_2", "rouge_l",
                             "bleu"]
    assert figures["perplexity"].value == pytest.approx(torch.tensor(figures["loss"].value).exp().item(), rel=1e-4)
    low, high = figures["loss"].interval or (0.0, 0.0)
    assert low < figures["loss"].value < high
    assert trained.result.outcome.metric == "perplexity"


def test_runtime_computes_what_was_recorded(trained: Trained) -> None:
    assert len(trained.folder.manifest.probe) == 3
    published = trained.registry.read("t/places")
    difference = verify_probe(published, trained.base)
    assert difference is not None
    assert difference < 1e-5


def test_evaluation_in_the_runtime_is_that_of_training(trained: Trained, tmp_path: Path) -> None:
    test = split_rows(ROWS, SplitPlan())[2]
    found = evaluate_adapter(trained.folder, str(write_rows(tmp_path / "test.jsonl", test)),
                             base=str(trained.base.source.folder), settings=trained.settings, columns={}).metrics
    assert found == pytest.approx(dict(trained.result.evaluation.metrics), rel=1e-4)


def test_greedy_answers_are_those_of_stock_peft_token_for_token(trained: Trained) -> None:
    generator = Generator(trained.base, trained.registry, settings=trained.settings)
    prompts = [row["prompt"] for row in ROWS[:6]]
    settings = GenerationSettings(max_new_tokens=24)
    answers = generator.generate([("t/places", prompt, settings) for prompt in prompts])
    stock = stock_lm(trained.base.source.folder, trained.folder.path)
    for prompt, answer in zip(prompts, answers, strict=True):
        assert isinstance(answer, Generated)
        assert answer.tokens == stock_tokens(stock, trained.base.tokenizer(prompt).input_ids, 24)
    bare = generator.generate([(None, prompts[0], settings)])[0]
    assert isinstance(bare, Generated)
    assert bare.tokens != answers[0].tokens  # type: ignore[union-attr]  # checked above


def test_runtime_that_reads_refuses_an_adapter_that_writes(trained: Trained) -> None:
    if trained.base.config.model_type == "t5":
        with pytest.raises(BaseNotFound, match="does not only read"):
            Runtime(trained.base, trained.registry, settings=trained.settings)
        return
    runtime = Runtime(trained.base, trained.registry, settings=trained.settings)
    with pytest.raises(PredictionError, match="it writes, token by token") as caught:
        runtime.predict([("t/places", "anna")])
    assert "Ask a Generator" in str(caught.value.hint)


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_packed_rows_teach_what_rows_alone_teach(family: str, base_of: Callable[[str], Base], tmp_path: Path,
                                                 tiny_settings: Settings) -> None:
    base = base_of(family)
    data = write_rows(tmp_path / "rows.jsonl", ROWS)
    shared = {"epochs": 1, "batch_size": 64, "n_written": 0}
    alone, packed = (run_training(config_of(tmp_path, base, data, pack=pack, output=tmp_path / f"out-{pack}", **shared),
                                  tiny_settings) for pack in (False, True))
    assert packed.outcome.losses == pytest.approx(alone.outcome.losses, rel=1e-4)
    assert packed.evaluation.metrics == pytest.approx(alone.evaluation.metrics, rel=1e-2)


@pytest.mark.parametrize("rows", [CHATS, TEXTS], ids=["chats", "texts"])
def test_chats_and_plain_texts_are_learned(rows: Rows, base_of: Callable[[str], Base], tmp_path: Path,
                                           tiny_settings: Settings) -> None:
    result = run_training(config_of(tmp_path, base_of("llama"), write_rows(tmp_path / "rows.jsonl", rows), epochs=2),
                          tiny_settings)
    assert result.outcome.losses[1] < result.outcome.losses[0]
    assert ("rouge_l" in result.evaluation.metrics) == ("messages" in rows[0])


def test_prompts_are_learned_where_that_is_asked_for(base_of: Callable[[str], Base], tmp_path: Path,
                                                     tiny_settings: Settings) -> None:
    data = write_rows(tmp_path / "rows.jsonl", ROWS)
    losses = [run_training(config_of(tmp_path, base_of("llama"), data, epochs=1, n_written=0, learn_prompts=asked,
                                     output=tmp_path / f"out-{asked}"), tiny_settings).outcome.losses
              for asked in (False, True)]
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


def test_texts_that_are_cut_are_counted(base_of: Callable[[str], Base], tmp_path: Path,
                                        tiny_settings: Settings) -> None:
    data = write_rows(tmp_path / "rows.jsonl", ROWS)
    result = run_training(config_of(tmp_path, base_of("llama"), data, epochs=1, n_written=0, max_length=16),
                          tiny_settings)
    assert result.n_truncated == 21


def test_tokenizer_without_padding_trains_and_writes(base_of: Callable[[str], Base], tmp_path: Path,
                                                     tiny_settings: Settings) -> None:
    base = base_of("llama")
    base.tokenizer.save_pretrained(tmp_path / "base")
    stock_lm(base.source.folder, None).save_pretrained(tmp_path / "base")
    bare = load_base(str(tmp_path / "base"), cache=tiny_settings.cache).tokenizer
    bare.pad_token = None
    bare.save_pretrained(tmp_path / "base")
    other = load_base(str(tmp_path / "base"), cache=tiny_settings.cache)
    assert other.tokenizer.pad_token_id is None
    result = run_training(config_of(tmp_path, other, write_rows(tmp_path / "rows.jsonl", ROWS), epochs=1),
                          tiny_settings)
    assert "bleu" in result.evaluation.metrics


REFUSED: dict[str, tuple[str, dict[str, Any], type[Exception], str]] = {
    "packed source texts": ("t5", {"pack": True}, InvalidConfig, "pack and learn_prompts are for text-generation"),
    "too long": ("llama", {"max_length": 4096}, DataError, "the base reads at most 160"),
    "metric of what is written": ("llama", {"metric": "bleu"}, Exception, "perplexity"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_learned_is_refused_before_training(name: str, base_of: Callable[[str], Base], tmp_path: Path,
                                                           tiny_settings: Settings) -> None:
    family, changes, error, told = REFUSED[name]
    with pytest.raises(error, match=told):
        run_training(config_of(tmp_path, base_of(family), write_rows(tmp_path / "rows.jsonl", ROWS), **changes),
                     tiny_settings)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("family", "task", "told"), [
    ("llama", "text2text-generation", "is no encoder-decoder, which text2text-generation needs"),
    ("t5", "text-generation", "is an encoder-decoder, which text-generation does not go with"),
    ("bart", "text-classification", "is an encoder-decoder, which text-classification does not go with"),
])
def test_task_that_a_base_of_this_kind_cannot_have_is_refused_before_training(
        family: str, task: str, told: str, base_of: Callable[[str], Base], tmp_path: Path,
        tiny_settings: Settings) -> None:
    rows = [{"text": f"a {i}", "label": "xy"[i % 2]} for i in range(30)] if task == "text-classification" else ROWS
    config = replace(config_of(tmp_path, base_of(family), write_rows(tmp_path / "rows.jsonl", rows)), task=task)
    with pytest.raises(InvalidConfig, match=told):
        run_training(config, tiny_settings)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_encoder_decoder_embeds_texts(base_of: Callable[[str], Base], tmp_path: Path, tiny_settings: Settings) -> None:
    rows = [{"query": f"where is {i}", "answer": f"in {i}"} for i in range(20)]
    config = replace(config_of(tmp_path, base_of("bart"), write_rows(tmp_path / "rows.jsonl", rows), epochs=1),
                     task="sentence-similarity")
    assert "mrr" in run_training(config, tiny_settings).evaluation.metrics


def test_classes_by_a_causal_base_without_a_padding_token_are_refused(base_of: Callable[[str], Base], tmp_path: Path,
                                                                      tiny_settings: Settings) -> None:
    base = base_of("llama")
    shutil.copytree(base.source.folder, tmp_path / "bare")
    config = json.loads((tmp_path / "bare" / "config.json").read_text())
    (tmp_path / "bare" / "config.json").write_text(json.dumps(config | {"pad_token_id": None}))
    bare = load_base(str(tmp_path / "bare"), cache=tiny_settings.cache)
    data = write_rows(tmp_path / "rows.jsonl", [{"text": f"a {i}", "label": "xy"[i % 2]} for i in range(30)])
    with pytest.raises(InvalidConfig, match="names no padding token, and text-classification finds") as caught:
        run_training(replace(config_of(tmp_path, bare, data), task="text-classification"), tiny_settings)
    assert "pad_token_id" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_base_without_a_language_model_head_is_refused(tiny_base_folder: Path, tmp_path: Path,
                                                       tiny_settings: Settings) -> None:
    base = load_base(str(tiny_base_folder), cache=tiny_settings.cache)
    with pytest.raises(BaseNotFound, match="no language-model head"):
        run_training(config_of(tmp_path, base, write_rows(tmp_path / "rows.jsonl", ROWS)), tiny_settings)


def test_model_whose_packed_texts_would_see_each_other_is_refused(tmp_path: Path, tiny_settings: Settings,
                                                                  base_of: Callable[[str], Base]) -> None:
    from transformers import BloomConfig, BloomForCausalLM

    config = BloomConfig(vocab_size=len(base_of("llama").tokenizer), hidden_size=32, n_layer=1, n_head=2)
    BloomForCausalLM(config).save_pretrained(tmp_path / "bloom")
    base_of("llama").tokenizer.save_pretrained(tmp_path / "bloom")
    base = load_base(str(tmp_path / "bloom"), cache=tiny_settings.cache)
    with pytest.raises(InvalidConfig, match="would see each other in a bloom"):
        run_training(config_of(tmp_path, base, write_rows(tmp_path / "rows.jsonl", ROWS), pack=True), tiny_settings)


def test_every_family_is_known_to_be_one_part_or_two() -> None:
    assert set(TWO_PART) < set(FAMILIES)
