"""The pieces of the runtime's benchmarks, at a tiny size: what is drawn, what is made, who is compared with what."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from adapterhub.adapter.check import check_folder
from adapterhub.adapter.folder import read_folder
from adapterhub.bases.load import Base, load_base
from adapterhub.costs.many import ManyAdapters, name_of
from adapterhub.registry import Registry
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.engine import Runtime
from adapterhub.settings import Settings
from adapterhub.tasks.batch import collate
from benchmarks import churn, cliff, load
from benchmarks.adapters_made import Recipe, publish_all, write_adapters
from benchmarks.alternation import alternate, ratio_figure, undisturbed
from benchmarks.mixed_batch import Contenders
from benchmarks.peers import PeftPeer
from benchmarks.popularity import adapter_of_row, group_sizes, slora_trace, uniform_batches
from benchmarks.report import Options
from benchmarks.texts import TextSource

BENCHMARKS = ("load", "mixed_batch", "cliff", "churn", "scale", "auto_dtype", "generate")
RECIPE = Recipe(rank=4, n_labels=3, head=("classifier",), dtype=torch.float32)


@pytest.fixture(scope="module")
def base(tiny_base_folder: Path, tiny_settings: Settings) -> Base:
    return load_base(str(tiny_base_folder), cache=tiny_settings.cache)


@pytest.fixture(scope="module")
def folders(base: Base, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_adapters(tmp_path_factory.mktemp("made"), base, RECIPE, range(3))


@pytest.mark.parametrize(("popularity", "sizes"), [
    ("identical", [32]), ("distinct", [1] * 32), ("uniform", [6, 6, 5, 5, 5, 5]),
    ("skewed", [11, 7, 5, 3, 2, 2, 1, 1])])
def test_batches_are_popular_as_punica_defines_it(popularity: str, sizes: list[int]) -> None:
    assert group_sizes(32, popularity) == sizes
    rows = adapter_of_row(32, popularity, np.random.default_rng(0))
    assert sorted(np.bincount(rows).tolist(), reverse=True) == sizes


def test_skewed_adapters_have_three_halves_of_the_rows_of_the_next() -> None:
    sizes = group_sizes(1000, "skewed")
    assert sum(sizes) == 1000
    assert {int(1.5 ** i) for i in range(14)} <= set(sizes)


def test_trace_differs_by_adapters_alone_and_is_popular_by_a_power_law() -> None:
    few, many = (slora_trace(n_requests=20_000, n_adapters=n, rate_per_s=10.0, n_tokens=(8, 128), seed=1)
                 for n in (5, 1000))
    assert [(r.arrives_s, r.n_tokens) for r in few] == [(r.arrives_s, r.n_tokens) for r in many]
    assert few[-1].arrives_s == pytest.approx(2000, rel=0.05)
    counts = np.bincount([request.adapter for request in many], minlength=1000)
    assert counts[0] / counts[9] == pytest.approx(10, rel=0.2)
    assert {request.adapter for request in few} == set(range(5))


def test_uniform_batches_ask_for_every_adapter() -> None:
    batches = uniform_batches(32, 8, seed=0)
    assert {adapter for _ in range(10) for adapter in next(batches)} == set(range(8))


def test_contenders_take_turns_and_who_begins_changes() -> None:
    turns: list[str] = []
    seconds = alternate({"a": lambda: turns.append("a"), "b": lambda: turns.append("b")}, n_rounds=2, n_warmups=1)
    assert "".join(turns) == "baabba"
    assert [len(values) for values in seconds.values()] == [2, 2]


def test_ratio_is_the_median_of_each_rounds_ratio() -> None:
    figure = ratio_figure("x", [2.0, 30.0, 9.0], [1.0, 10.0, 9.0], at_most=1.9)
    assert (figure.value, figure.unit, figure.is_met) == (2.0, "x", False)
    assert undisturbed([10.0, 2.0, 2.0, 2.0, 50.0]) == 2.0


def test_texts_have_exactly_the_tokens_asked_for(base: Base) -> None:
    texts = TextSource(base, seed=0)
    assert [len(base.tokenizer(texts.text(n))["input_ids"]) for n in (4, 9, 64)] == [4, 9, 64]
    assert len(texts.example(16).sequences[0].input_ids) == 16


def test_made_adapters_are_valid_and_each_is_its_own(base: Base, folders: list[Path]) -> None:
    read = [read_folder(folder) for folder in folders]
    for folder in read:
        assert len(check_folder(folder, base.shapes).delta_a) == 12
    assert len({folder.digest for folder in read}) == 3


def test_one_folder_is_many_adapters_by_name(base: Base, folders: list[Path]) -> None:
    registry = ManyAdapters(folders[:1])
    assert registry.resolve(name_of(1)).digest != registry.resolve(name_of(2)).digest
    runtime = Runtime(base, registry, config=RuntimeConfig(dtype="float32"))
    answers = runtime.predict([(name_of(i), "the card") for i in range(3)])
    assert runtime.statistics().n_resident == 3
    assert answers[0].result["score"] == pytest.approx(answers[2].result["score"], abs=1e-6)
    runtime.close()


def test_contenders_of_a_mixed_batch_compute_the_same(base: Base, folders: list[Path]) -> None:
    contenders, texts = Contenders(base, RECIPE, folders, "float32"), TextSource(base, seed=0)
    examples, adapters = [texts.example(8) for _ in range(4)], [0, 2, 1, 2]
    inputs = collate([example.sequences[0] for example in examples], pad_id=0)
    names = [contenders.names[adapter] for adapter in adapters]
    torch.testing.assert_close(contenders.logits(examples, adapters), contenders.peft.logits(inputs, names),
                               atol=1e-4, rtol=1e-4)
    assert {"runtime", "base", "PEFT"} <= contenders.works(examples, adapters, inputs).keys()


def test_filled_peft_model_has_the_modules_that_loading_makes(base: Base, folders: list[Path]) -> None:
    filled, loaded = (PeftPeer(base, RECIPE, torch.float32, ("first", folders[0])) for _ in range(2))
    filled.fill(["second"])
    loaded.load("second", folders[1])
    assert filled.parameter_names() == loaded.parameter_names()


def test_loaders_load_and_unload(base: Base, folders: list[Path], tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    references = [version.reference for version in publish_all(registry, folders)]
    ours = load.Ours(base, ManyAdapters(folders, registry), references, n_resident=4)
    ours.load(1)
    assert ours.runtime.statistics().n_resident == 5
    ours.unload(1)
    assert ours.runtime.statistics().n_resident == 4
    load.Plain(folders, torch.float32).load(0)
    ours.runtime.close()


def test_cliff_streams_evict_past_the_slots(base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cliff, "N_SLOTS", 2)
    monkeypatch.setattr(cliff, "N_ROWS", 8)
    monkeypatch.setattr(cliff, "RECIPE", RECIPE)
    stream = cliff.Stream(base, tmp_path, 5, Options(is_quick=True, is_checked=False, json_file=None))
    stream.answer_batch()
    assert stream.runtime.statistics().n_evictions > 0
    stream.runtime.close()


def test_churn_counts_what_is_wrong(base: Base, tmp_path: Path) -> None:
    sizes = churn.Sizes(n_names=3, n_slots=2, n_changes=12)
    texts = [TextSource(base, seed).text(6) for seed in range(churn.N_TEXTS)]
    published = churn.Published(base, tmp_path, sizes, texts, seed=0)
    config = RuntimeConfig(dtype="float32", max_slots=2)
    right = churn.Traffic(Runtime(base, published.registry, config=config), published, seed=0).churn(12)
    assert right[0].value == 0
    assert right[0].n_runs > 12
    published.scores = {key: scores.flip(0) for key, scores in published.scores.items()}
    wrong = churn.Traffic(Runtime(base, published.registry, config=config), published, seed=0).churn(6)
    assert wrong[0].value > 0


@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmark_has_help(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.delitem(sys.modules, f"benchmarks.{name}", raising=False)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
    assert ended.value.code == 0
    assert "--quick" in capsys.readouterr().out
