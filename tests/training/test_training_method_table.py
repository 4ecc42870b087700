"""Every method of the table is trained, written, proved by stock PEFT, and served, or told how it can be."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from readme_tables import ROOT
from stock import stock_model, stock_outputs
from trained_folders import tensors_of

from adapterhub.adapter.check import check_folder
from adapterhub.adapter.folder import AdapterFolder, read_folder
from adapterhub.bases.load import Base
from adapterhub.combining.convert import convert
from adapterhub.combining.made import Parent
from adapterhub.errors import InvalidConfig, InvalidFolder, UnknownName
from adapterhub.registry.registry import Registry
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.measure import verify_probe
from adapterhub.runtime.shared_base import SharedBase
from adapterhub.tasks.table import find_task
from adapterhub.training.config import TrainConfig
from adapterhub.training.method_table import METHODS, Method
from adapterhub.training.methods import build_model
from adapterhub.training.peft_configs import require_options
from adapterhub.training.plain_lora import as_plain_lora
from adapterhub.training.run import TrainResult

Run = Callable[..., TrainResult]
ADAPTERS = [name for name, method in METHODS.items()
            if method.peft_class and not method.is_for_writing and name != "qlora"]
TEXTS = ("the card is new", "where is my loan please")
TOLERANCE = 1e-4
"""Between the runtime and PEFT, float32: they add the same numbers in another order."""


def config(**fields: Any) -> TrainConfig:
    return TrainConfig(**({"task": "text-classification", "data": "rows.csv", "output": Path("out")} | fields))


def changes_of(method: Method) -> dict[str, Any]:
    """VeRA's default rank is larger than the tiny base; the others take theirs."""
    return {"rank": 4 if method.rank else None}


@pytest.fixture(scope="module")
def folders(train_tiny: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, AdapterFolder]:
    """One adapter of each method; never to be changed."""
    place = tmp_path_factory.mktemp("methods")
    return {name: read_folder(train_tiny(place / name, "text-classification", "intents3", method=name,
                                         **changes_of(METHODS[name]))) for name in ADAPTERS}


@pytest.mark.parametrize("name", ADAPTERS)
def test_folder_says_its_method_and_loads_by_stock_peft(name: str, folders: dict[str, AdapterFolder],
                                                        tiny_base_folder: Path, tiny_base: Base) -> None:
    folder = folders[name]
    check_folder(folder, tiny_base.shapes)
    ranks = {"ia3": 0, "oft": 0, "pissa": 8}  # PiSSA's change has twice the rank it was trained with
    assert (folder.manifest.method.name, folder.manifest.method.rank) == (name, ranks.get(name, 4))
    bare, adapted = (stock_model(tiny_base_folder, "text-classification", 3, path) for path in (None, folder.path))
    assert len(stock_outputs(tiny_base_folder, adapted, TEXTS[0])) == 3
    assert not torch.equal(stock_outputs(tiny_base_folder, adapted, TEXTS[0]),
                           stock_outputs(tiny_base_folder, bare, TEXTS[0]))


@pytest.mark.parametrize("name", ADAPTERS)
def test_runtime_serves_a_method_or_says_how_it_can_be(name: str, folders: dict[str, AdapterFolder], tiny_base: Base,
                                                       tmp_path: Path) -> None:
    folder = folders[name]
    if METHODS[name].serving != "after `adapterhub convert`":
        difference = verify_probe(folder, tiny_base)
        assert difference is not None
        assert difference < TOLERANCE
        return
    shared = SharedBase(tiny_base, RuntimeConfig(dtype="float32"))
    with pytest.raises(InvalidFolder, match=rf"is not served.*adapterhub convert {folder.path} --rank 16"):
        shared.adapters.load(folder, in_use=())
    plain = convert(Parent(files=folder, reference="a/b"), 8, tiny_base, tmp_path / "plain")
    assert plain.manifest.combination
    assert plain.manifest.combination.relative_error < (1 if name == "oft" else 1e-3)  # a rotation has every rank
    shared.adapters.load(plain, in_use=())


@pytest.mark.parametrize("name", [name for name in ADAPTERS if not METHODS[name].serving.startswith("as")])
def test_method_that_is_not_served_is_published_and_verified(name: str, folders: dict[str, AdapterFolder],
                                                             tiny_base: Base, tmp_path: Path) -> None:
    registry = Registry(str(tmp_path / "registry"))
    version = registry.publish(folders[name].path, f"a/{name}")
    assert registry.verify(version.reference, tiny_base.shapes).n_tensors == len(tensors_of(folders[name].path))


@pytest.mark.parametrize("name", [name for name in ADAPTERS if name != "pissa"])
def test_training_on_starts_where_the_parent_of_the_same_method_ended(name: str, folders: dict[str, AdapterFolder],
                                                                      run_tiny: Run) -> None:
    folder = run_tiny(method=name, continue_from=folders[name].path, learning_rate=1e-8, weight_decay=0.0,
                      **changes_of(METHODS[name])).folder
    before = tensors_of(folders[name].path)
    for key, value in tensors_of(folder).items():
        is_taken = (value == 0) & key.endswith("lora_E")  # AdaLoRA spreads its budget anew
        assert torch.allclose(value, before[key].where(~is_taken, 0.0), atol=1e-5), key


@pytest.mark.parametrize(("method", "changes", "told"), [
    ("lora", {"alpha": 4.0}, r"has alpha 8\.0, this run has 4\.0\. Give --alpha 8"),
    ("lora", {"method": "rslora"}, "has use_rslora None, this run has True"),
    ("lora", {"method": "ia3", "rank": None}, "has method LORA, this run has IA3"),
    ("pissa", {}, "from the base's own weights cannot start from an adapter. Give --method lora --rank 8 --alpha"),
    ("vera", {"method_options": {"projection_prng_key": 3}}, "has projection_prng_key None, this run has 3"),
])
def test_parent_that_computes_otherwise_is_refused(method: str, changes: dict[str, Any], told: str, run_tiny: Run,
                                                   folders: dict[str, AdapterFolder]) -> None:
    with pytest.raises(InvalidConfig, match=told):
        run_tiny(**({"method": method, "rank": 4, "continue_from": folders[method].path} | changes))


def test_adalora_takes_ranks_away_down_to_its_budget(run_tiny: Run) -> None:
    tensors = tensors_of(run_tiny(method="adalora", rank=2, epochs=5, is_validated=False).folder)
    left = [int((value != 0).sum()) for key, value in tensors.items() if key.endswith("lora_E")]
    assert sum(left) == 2 * len(left)  # of 3 each at the start


def test_b_learns_faster_with_loraplus(run_tiny: Run, tmp_path: Path) -> None:
    moved = {}
    for ratio in (1.0, 16.0):
        tensors = tensors_of(run_tiny(method="loraplus", method_options={"loraplus_lr_ratio": ratio},
                                      learning_rate=1e-3, output=tmp_path / str(ratio)).folder)
        moved[ratio] = sum(float(value.norm()) for key, value in tensors.items() if "lora_B" in key)
    assert moved[16.0] > 4 * moved[1.0]


@pytest.mark.parametrize(("options", "told"), [
    ({"use_dorra": True}, "Unknown option of lora 'use_dorra'.*Did you mean use_dora"),
    ({"r": 4}, "method_options sets r, which has a setting of its own. Give --rank"),
    ({"task_type": "SEQ_CLS"}, "which follows from task, base and rows"),
    ({"trainable_token_indices": [1]}, "sets trainable_token_indices, which the runtime does not serve"),
    ({"eva_config": {}}, "which needs passes over the rows before training"),
    ({"init_lora_weights": "eva"}, "init_lora_weights is 'eva', expected gaussian, orthogonal, olora, pissa"),
    ({"init_lora_weights": "pissa", "use_dora": True}, "cannot be made plain LoRA together"),
    ({"bias": "all"}, "bias is 'all', which the runtime does not serve"),
    ({"use_rslora": "perhaps"}, "method_options sets use_rslora to 'perhaps', expected a valid boolean"),
    ({"layers_to_transform": "first"}, "method_options sets layers_to_transform to 'first'"),
])
def test_option_that_cannot_be_is_refused_with_its_reason(options: dict[str, Any], told: str) -> None:
    with pytest.raises((InvalidConfig, UnknownName), match=told):
        require_options(config(method_options=options), find_task("text-classification"))


@pytest.mark.parametrize(("method", "field"), [("ia3", "rank"), ("ia3", "alpha"), ("ia3", "dropout"), ("oft", "rank"),
                                               ("vera", "alpha")])
def test_setting_that_a_method_does_not_have_is_refused(method: str, field: str) -> None:
    with pytest.raises(InvalidConfig, match=f"{field} is 0.5, but method '{method}' has none. Leave {field} out"):
        config(method=method, **{field: 0.5})


def test_options_reach_peft(run_tiny: Run) -> None:
    folder = read_folder(run_tiny(method_options={"use_rslora": True, "layers_to_transform": [1]}).folder or Path())
    assert folder.config.use_rslora
    assert {key.split(".layer.")[1][0] for key in tensors_of(folder.path) if "lora_" in key} == {"1"}
    assert folder.manifest.training.hyperparameters["method_options.use_rslora"] is True


@pytest.mark.parametrize("start", ["olora", "pissa_niter_4"])
def test_start_that_moves_the_base_is_written_as_plain_lora(start: str, run_tiny: Run, tiny_base: Base) -> None:
    folder = read_folder(run_tiny(method_options={"init_lora_weights": start}, rank=2).folder or Path())
    assert (folder.config.r, folder.config.moves_base) == (4, False)
    difference = verify_probe(folder, tiny_base)
    assert difference is not None
    assert difference < TOLERANCE


def test_too_few_steps_for_adalora_are_told(run_tiny: Run) -> None:
    with pytest.raises(InvalidConfig, match="The run has 1 steps, AdaLoRA spreads its ranks over 3 or more"):
        run_tiny(method="adalora", batch_size=64)


def test_targets_by_pattern_are_whole_names(run_tiny: Run) -> None:
    folder = run_tiny(targets=r"re:.*layer\.1\..*(query|value)").folder
    assert {key.split(".layer.")[1].split(".lora")[0] for key in tensors_of(folder) if "lora_" in key} == {
        "1.attention.self.query", "1.attention.self.value"}


@pytest.mark.parametrize(("pattern", "told"), [
    ("re:(query", r"targets: '\(query' is no regular expression"),
    ("re:query", "No linear layer of the base matches 'query' as a whole.*a whole name is bert.encoder.layer.0")])
def test_pattern_that_finds_nothing_is_told(pattern: str, told: str, run_tiny: Run) -> None:
    with pytest.raises(InvalidConfig, match=told):
        run_tiny(targets=pattern)


def test_ia3_scales_the_input_of_the_layer_that_leads_back(run_tiny: Run) -> None:
    shapes = {key.split(".layer.0.")[1]: tuple(value.shape) for key, value in
              tensors_of(run_tiny(method="ia3", rank=None).folder).items() if ".layer.0." in key}
    assert shapes["output.dense.ia3_l"] == (1, 48)
    assert shapes["attention.output.dense.ia3_l"] == (32, 1)


def test_base_in_4_bits_without_cuda_is_refused_in_a_sentence(run_tiny: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InvalidConfig, match=r"needs a CUDA device; here is none\. Give --method lora"):
        run_tiny(method="qlora")


def test_what_was_trained_in_4_bits_is_stored_for_the_whole_base(tiny_config: Callable[..., TrainConfig],
                                                                 tiny_base: Base) -> None:
    task, labels = find_task("text-classification"), ["a", "b"]
    trained = build_model(tiny_config(), tiny_base, task, labels)
    state = {name: torch.randn_like(value) for name, value in trained.state().items()}
    trained.model.is_loaded_in_4bit = True
    trained.model.requires_grad_(requires_grad=False)
    whole, stored = as_plain_lora(trained, tiny_base, task, labels, {}, state)
    assert whole.model is not trained.model
    assert all(torch.equal(value, state[name]) for name, value in whole.state().items())
    assert stored.keys() == state.keys()


def test_documents_table_is_the_methods() -> None:
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    lines = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.count("|") == 7]
    told = {line[0]: (line[1], line[2], line[3], line[5]) for line in lines[2:]}
    assert told == {name: (method.idea, f"{method.rate:g}", str(method.rank or "none"), method.serving.strip("`"))
                    for name, method in METHODS.items() if method.peft_class}
