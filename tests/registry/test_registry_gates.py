"""A gate lets a version pass by what it shows on pinned rows, and says with figures why it does not."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from adapter_folders import write_adapter_folder

from adapterhub.adapter.folder import AdapterFolder
from adapterhub.errors import DataError, InvalidConfig, InvalidFolder, PromotionRefused, UnknownName
from adapterhub.registry import Limits, Registry

ROWS = b'{"text": "my card", "label": "card"}\n'


class Scores:
    """Measures by a table: the adapter's training seed -> its accuracy; remembers what it was asked."""

    def __init__(self, *by_seed: float) -> None:
        self.by_seed, self.asked = by_seed, []

    def __call__(self, folder: AdapterFolder, rows: bytes, file: str) -> Mapping[str, float]:
        self.asked.append((folder.manifest.training.seed, rows, file.partition(".")[2]))
        score = self.by_seed[folder.manifest.training.seed]
        return {"accuracy": score, "ece": 1 - score}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "registry", by="anna")
    for seed in range(3):
        registry.publish(write_adapter_folder(tmp_path / str(seed), seed=seed), "a/b")
    (tmp_path / "eval.jsonl").write_bytes(ROWS)
    return registry


def gated(registry: Registry, tmp_path: Path, *, minimum: float | None = 0.7, max_drop: float | None = 0.02) -> None:
    registry.set_gate("a/b", "production", Limits(metric="accuracy", minimum=minimum, max_drop=max_drop),
                      tmp_path / "eval.jsonl")


def test_version_that_meets_the_gate_passes_and_its_figures_are_kept(registry: Registry, tmp_path: Path) -> None:
    gated(registry, tmp_path)
    scores = Scores(0.80, 0.79)
    assert registry.promote("a/b@1", "production", evaluate=scores).figures == {"candidate": 0.80}
    second = registry.promote("a/b@2", "production", evaluate=scores)
    assert (second.figures, second.is_forced, second.by) == ({"candidate": 0.79, "incumbent": 0.80}, False, "anna")
    assert scores.asked == [(0, ROWS, "jsonl"), (1, ROWS, "jsonl"), (0, ROWS, "jsonl")]
    assert registry.history("a/b@production")[-1] == second


@pytest.mark.parametrize(("score", "words"), [
    (0.60, r"0\.6000, the gate asks at least 0\.7; accuracy is 0\.6000, 0\.2000 below the incumbent's 0\.8"),
    (0.77, r"accuracy is 0\.7700, 0\.0300 below the incumbent's 0\.8000; the gate allows 0\.02"),
    (float("nan"), "accuracy is nan"),
])
def test_version_that_does_not_is_refused_with_the_figures(score: float, words: str, registry: Registry,
                                                           tmp_path: Path) -> None:
    registry.promote("a/b@1", "production")
    gated(registry, tmp_path)
    with pytest.raises(PromotionRefused, match=words):
        registry.promote("a/b@2", "production", evaluate=Scores(0.80, score))
    assert [move.version for move in registry.history("a/b@production")] == [1]


def test_forced_move_goes_past_the_gate_and_is_recorded_as_forced(registry: Registry, tmp_path: Path) -> None:
    gated(registry, tmp_path)
    move = registry.promote("a/b@2", "production", is_forced=True)
    assert (move.version, move.is_forced) == (2, True)
    assert registry.history("a/b@production")[0].is_forced


def test_gate_without_anything_to_measure_with_refuses(registry: Registry, tmp_path: Path) -> None:
    gated(registry, tmp_path)
    with pytest.raises(PromotionRefused, match="has a gate on accuracy, and nothing to measure it with"):
        registry.promote("a/b@1", "production")


def test_other_aliases_have_no_gate(registry: Registry, tmp_path: Path) -> None:
    gated(registry, tmp_path)
    assert registry.promote("a/b@1", "staging").number == 1
    assert list(registry.gates("a/b")) == ["production"]


def test_removed_gate_asks_nothing_and_a_later_one_asks_again(registry: Registry, tmp_path: Path) -> None:
    gated(registry, tmp_path)
    registry.open_gate("a/b", "production")
    assert registry.gates("a/b") == {}
    assert registry.promote("a/b@1", "production").number == 1
    gated(registry, tmp_path)
    with pytest.raises(PromotionRefused):
        registry.promote("a/b@2", "production")
    with pytest.raises(PromotionRefused, match="has no gate"):
        registry.open_gate("a/b", "staging")


def test_incumbent_that_changed_while_it_was_measured_refuses_the_move(registry: Registry, tmp_path: Path) -> None:
    gated(registry, tmp_path, minimum=None)
    registry.promote("a/b@1", "production", is_forced=True)

    def slow(folder: AdapterFolder, rows: bytes, file: str) -> Mapping[str, float]:
        registry.promote("a/b@3", "production", is_forced=True)
        return {"accuracy": 0.8}

    with pytest.raises(PromotionRefused, match="moved meanwhile: expected move 1, found 2"):
        registry.promote("a/b@2", "production", evaluate=slow)


def test_rows_changed_in_the_registry_are_found(registry: Registry, tmp_path: Path) -> None:
    gated(registry, tmp_path)
    rows = next((tmp_path / "registry/a/b/gates/production/rows").iterdir())
    rows.write_bytes(ROWS + b"\n")
    with pytest.raises(InvalidFolder, match="its rows are missing or changed"):
        registry.promote("a/b@1", "production", evaluate=Scores(1.0))


def test_metric_that_the_task_does_not_have_is_named(registry: Registry, tmp_path: Path) -> None:
    registry.set_gate("a/b", "production", Limits(metric="acuracy", minimum=0.5), tmp_path / "eval.jsonl")
    with pytest.raises(UnknownName, match=r"'acuracy'; known: accuracy, ece\. Did you mean accuracy"):
        registry.promote("a/b@1", "production", evaluate=Scores(1.0))


@pytest.mark.parametrize(("limits", "score", "words"), [
    (Limits(metric="ece", maximum=0.25), 0.70, r"ece is 0\.3000, the gate asks at most 0\.25"),
    (Limits(metric="ece", max_drop=0.02), 0.77, r"ece is 0\.2300, 0\.0300 above the incumbent's 0\.2000; the gate"),
    (Limits(metric="ece", maximum=0.25, max_drop=0.02), float("nan"), "ece is nan, the gate asks.*is nan, nan above"),
])
def test_of_errors_a_gate_refuses_those_that_are_too_large(limits: Limits, score: float, words: str,
                                                           registry: Registry, tmp_path: Path) -> None:
    registry.promote("a/b@1", "production")
    registry.set_gate("a/b", "production", limits, tmp_path / "eval.jsonl")
    assert registry.promote("a/b@2", "production", evaluate=Scores(0.80, 0.95)).figures["candidate"] < 0.2
    registry.rollback("a/b@production")
    with pytest.raises(PromotionRefused, match=words):
        registry.promote("a/b@2", "production", evaluate=Scores(0.80, score))


def test_gate_that_asks_in_the_wrong_direction_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="ece is better when it is lower, so a least figure says nothing"):
        Limits(metric="ece", minimum=0.1)
    with pytest.raises(InvalidConfig, match="accuracy is better when it is higher"):
        Limits(metric="accuracy", maximum=0.9)


def test_gate_that_asks_nothing_or_has_no_rows_is_refused(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="asks nothing"):
        Limits(metric="accuracy")
    with pytest.raises(InvalidConfig, match="max_drop is -1"):
        Limits(metric="accuracy", max_drop=-1)
    with pytest.raises(DataError, match="No such file of rows"):
        registry.set_gate("a/b", "production", Limits(metric="accuracy", minimum=0.5), tmp_path / "absent.jsonl")
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(DataError, match="has 0 bytes"):
        registry.set_gate("a/b", "production", Limits(metric="accuracy", minimum=0.5), tmp_path / "empty.jsonl")


def test_rollback_needs_no_gate(registry: Registry, tmp_path: Path) -> None:
    registry.promote("a/b@1", "production")
    registry.promote("a/b@2", "production")
    gated(registry, tmp_path)
    assert registry.rollback("a/b@production").version == 1
