"""Prompt and prefix tuning: trained on language models, written, proved by stock PEFT, and not served by name."""

from pathlib import Path
from typing import Any

import pytest
import torch
from language_models import write_language_model
from peft import PeftModel
from tiny import PEOPLE, PLACES, write_rows
from trained_folders import tensors_of

from adapterhub.adapter.folder import AdapterFolder, read_folder
from adapterhub.bases.load import Base, load_base
from adapterhub.errors import InvalidConfig, InvalidFolder, UnknownName
from adapterhub.registry import Registry
from adapterhub.runtime.generation.engine import Generator
from adapterhub.settings import Settings
from adapterhub.training.config import TrainConfig
from adapterhub.training.run import run_training

METHODS = ("prompt-tuning", "prefix-tuning")
FAMILIES = ("gpt2", "t5")
WAYS = (("gpt2", "prompt-tuning"), ("gpt2", "prefix-tuning"), ("t5", "prompt-tuning"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("prompts")
    write_rows(place / "rows.jsonl", [{"prompt": f"{name} {i}", "completion": f" {PLACES[k]}"}
                                      for i in range(8) for k, name in enumerate(PEOPLE)])
    for family in FAMILIES:
        write_language_model(place / family, family)
    return place


def config_of(place: Path, family: str, method: str, **changes: Any) -> TrainConfig:
    task = "text2text-generation" if family == "t5" else "text-generation"
    given: dict[str, Any] = {"task": task, "data": str(place / "rows.jsonl"), "base": str(place / family), "epochs": 1,
                             "output": place / f"{family}-{method}", "batch_size": 8, "max_length": 32, "n_written": 2,
                             "method": method, "method_options": {"num_virtual_tokens": 4}}
    return TrainConfig(**(given | changes))


@pytest.fixture(scope="module")
def folders(place: Path, tiny_settings: Settings) -> dict[tuple[str, str], AdapterFolder]:
    for family, method in WAYS:
        run_training(config_of(place, family, method), tiny_settings)
    return {way: read_folder(place / "-".join(way)) for way in WAYS}


@pytest.mark.filterwarnings("ignore:Position ids are not supported")  # PEFT's own, of one text without padding
@pytest.mark.parametrize(("family", "method"), WAYS)
def test_tokens_alone_are_written_and_stock_peft_writes_with_them(
        family: str, method: str, place: Path, folders: dict[tuple[str, str], AdapterFolder],
        tiny_settings: Settings) -> None:
    folder = folders[family, method]
    assert list(tensors_of(folder.path)) == ["prompt_embeddings"]
    assert (folder.manifest.method.name, folder.manifest.method.rank, folder.config.is_served) == (method, 0, False)
    assert folder.manifest.metric("perplexity") is not None
    base: Base = load_base(str(place / family), cache=tiny_settings.cache)
    model = PeftModel.from_pretrained(base.load_with_lm_head(), str(folder.path))
    tokens = base.tokenizer("anna 1", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        written = model.generate(input_ids=tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=3,
                                 do_sample=False)
    assert written.shape[1] >= 3


@pytest.mark.parametrize("method", METHODS)
def test_runtime_says_that_it_does_not_serve_them(method: str, place: Path, tmp_path: Path, tiny_settings: Settings,
                                                  folders: dict[tuple[str, str], AdapterFolder]) -> None:
    registry = Registry(tmp_path / "registry")
    version = registry.publish(folders["gpt2", method].path, "a/prompt")
    base = load_base(str(place / "gpt2"), cache=tiny_settings.cache)
    assert registry.verify(version.reference, base.shapes).n_tensors == 1
    generator = Generator(base, registry)
    with pytest.raises(InvalidFolder, match=r"is not served, expected LORA or IA3\. Train it with LoRA or IA3"):
        generator.load("a/prompt")
    generator.close()


def test_training_on_starts_from_the_parents_tokens(place: Path, folders: dict[tuple[str, str], AdapterFolder],
                                                    tiny_settings: Settings, tmp_path: Path) -> None:
    parent = folders["gpt2", "prompt-tuning"]
    config = config_of(place, "gpt2", "prompt-tuning", continue_from=parent.path, output=tmp_path / "out",
                       learning_rate=1e-8, weight_decay=0.0, dtype="float32")
    run_training(config, tiny_settings)
    own, before = (tensors_of(path)["prompt_embeddings"].float() for path in (tmp_path / "out", parent.path))
    assert torch.allclose(own, before, atol=1e-5)


@pytest.mark.parametrize(("changes", "told"), [
    ({"task": "text-classification"}, "is for tasks that write, this run is for text-class.*Give --method lora"),
    ({"targets": "query"}, "changes no layers, so it has no targets"),
    ({"rank": 4}, "rank is 4, but method 'prompt-tuning' has none"),
    ({"method_options": {"virtual_tokens": 4}}, "Unknown option of prompt-tuning.*Did you mean num_virtual_tokens"),
    ({"method": "prefix-tuning", "method_options": {"prefix_projection": True}}, "of which PEFT writes only the end"),
])
def test_what_does_not_go_with_prompts_is_refused(changes: dict[str, Any], told: str, place: Path, tmp_path: Path,
                                                  tiny_settings: Settings) -> None:
    with pytest.raises((InvalidConfig, UnknownName), match=told):
        run_training(config_of(place, "gpt2", **({"method": "prompt-tuning", "output": tmp_path / "out"} | changes)),
                     tiny_settings)
