"""The next version of every task: with the settings of the published one, and its own kind of corrections."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from language_models import CHAT_TEMPLATE, write_language_model
from tiny import answer_rows, entity_rows, intent_rows, pair_rows, write_rows

from adapterhub.cli.gate_measure import measure_by_runtime
from adapterhub.errors import DataError, InvalidConfig
from adapterhub.registry import Limits, Registry
from adapterhub.retraining.retrain import Retrained, RetrainPlan, retrain
from adapterhub.settings import Settings

PROMPTS = [{"prompt": f"where is {word} {i}", "completion": f"in {word}"} for i in range(20) for word in ("a", "b")]
CHATS = [{"messages": [{"role": "user", "content": row["prompt"]},
                       {"role": "assistant", "content": row["completion"]}]} for row in PROMPTS]
TAGGED = [{"tokens": [name, "is", "new"], "tags": ["B-PER", "O", "O"]} for name in ("mia", "tom", "eva")]
CASES: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any], str]] = {
    "token-classification": (entity_rows(), TAGGED, {"class_weights": {"B-PER": 2.0, "O": 0.5}}, "entity_f1"),
    "sentence-similarity": (pair_rows(), [{"query": f"what {i}", "answer": f"soup {i}"} for i in range(3)],
                            {"weight_decay": 0.1}, "mrr"),
    "question-answering": (answer_rows(), [{"question": "where is eva", "context": "eva is in lima .",
                                            "answers": ["lima"]}],
                           {"schedule": "cosine", "fractions": (0.5, 0.25, 0.25)}, "f1"),
    "text-generation": (PROMPTS, [{"prompt": "where is c", "completion": "in c"}],
                        {"pack": True, "learn_prompts": True}, "token_accuracy"),
    "text-generation of chats": (CHATS, [{"messages": [{"role": "user", "content": "c"},
                                                       {"role": "assistant", "content": "in c"}]}],
                                 {}, "token_accuracy"),
    "text2text-generation": ([row | {"references": [row["completion"]]} for row in PROMPTS],
                             [{"prompt": "where is c", "completion": "in c"}], {"patience": 2}, "token_accuracy"),
}
Make = Callable[..., Registry]
Run = Callable[..., Retrained]


@pytest.fixture(scope="module")
def base_of(tmp_path_factory: pytest.TempPathFactory, tiny_base_folder: Path) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def find(task: str) -> Path:
        family = {"text-generation": "llama", "text2text-generation": "t5"}.get(task)
        if family and family not in made:
            made[family] = write_language_model(tmp_path_factory.mktemp("bases") / family, family)
            (made[family] / "chat_template.jinja").write_text(CHAT_TEMPLATE)
        return made[family] if family else tiny_base_folder
    return find


@pytest.fixture
def make(train_tiny: Callable[..., Path], base_of: Callable[[str], Path], tmp_path: Path) -> Make:
    """Publish t/first 1 as production, behind a gate that lets everything pass."""
    def publish(task: str, rows: list[dict[str, Any]], metric: str, gate_rows: list[dict[str, Any]] | None = None,
                **settings: Any) -> Registry:
        data = write_rows(tmp_path / "rows.jsonl", rows)
        given = {"base": str(base_of(task)), "max_length": 64, "rank": 4, "n_written": 2} | settings
        registry = Registry(tmp_path / "registry")
        registry.publish(train_tiny(tmp_path / "first", task, str(data), **given), "t/first")
        registry.promote("t/first", "production")
        gate = write_rows(tmp_path / "gate.jsonl", gate_rows or rows[:8])
        registry.set_gate("t/first", "production", Limits(metric=metric, minimum=0.0), gate)
        return registry
    return publish


@pytest.fixture
def run(base_of: Callable[[str], Path], tiny_settings: Settings, tmp_path: Path) -> Run:
    def retrained(task: str, registry: Registry, lessons: list[dict[str, Any]]) -> Retrained:
        base = str(base_of(task))
        plan = RetrainPlan(reference="t/first", data=str(tmp_path / "rows.jsonl"), epochs=1, base=base)
        return retrain(plan, lessons, registry, measure_by_runtime(tiny_settings, base), tiny_settings)
    return retrained


@pytest.mark.parametrize("name", CASES)
def test_next_version_is_trained_as_the_published_one_was(name: str, make: Make, run: Run) -> None:
    rows, lessons, settings, metric = CASES[name]
    task = name.partition(" ")[0]
    registry = make(task, rows, metric, **settings)
    result = run(task, registry, lessons)
    assert registry.aliases("t/first") == {"production": 2}
    assert (result.rows.n_learned, result.rows.left_out.n_unreadable) == (len(lessons), 0)
    before, after = (registry.read(f"t/first@{number}").manifest for number in (1, 2))
    own = {"epochs", "batch_size", "learning_rate", "head_learning_rate",
           "targets"}  # all-linear is told by the layers' names
    first, second = ({name: value for name, value in manifest.training.hyperparameters.items() if name not in own}
                     for manifest in (before, after))
    assert first == second
    assert after.head.max_length == before.head.max_length
    assert set(before.method.target_modules) == set(after.method.target_modules)


@pytest.mark.parametrize(("method", "settings"), [
    ("dora", {"alpha": 3.0}), ("ia3", {"rank": None}), ("loraplus", {"dropout": 0.1}),
    ("lora", {"method_options": {"bias": "lora_only"}}), ("lora", {"upper_layers": 1, "remember_lower": True})])
def test_method_goes_on_with_what_belongs_to_it(method: str, settings: dict[str, Any], make: Make, run: Run) -> None:
    rows = intent_rows(3, 21)
    registry = make("text-classification", rows, "accuracy", method=method, **settings)
    run("text-classification", registry, [{"text": "my house 5", "label": "loan"}])
    first, second = (registry.read(f"t/first@{number}").manifest.training.hyperparameters for number in (1, 2))
    own = {"epochs", "batch_size", "learning_rate", "head_learning_rate", "targets", "upper_layers"}
    assert {name: value for name, value in first.items() if name not in own} == {
        name: value for name, value in second.items() if name not in own}


def test_method_that_no_gate_can_measure_is_told_before_training(make: Make, run: Run) -> None:
    registry = make("text-generation", PROMPTS, "token_accuracy", method="prompt-tuning", rank=None)
    with pytest.raises(InvalidConfig, match="t/first@1 is of method PROMPT_TUNING, which the runtime does not serve"):
        run("text-generation", registry, [{"prompt": "where is c", "completion": "in c"}])
    assert registry.numbers("t/first") == (1,)


def test_labels_get_the_names_that_they_had_in_each_version_that_follows(make: Make, run: Run) -> None:
    task, rows = "text-classification", intent_rows(3, 21)
    name = "money, a=b"
    renamed = [row | {"label": name} if row["label"] == "loan" else row for row in rows]
    registry = make(task, rows, "accuracy", gate_rows=renamed[:9], label_map={"loan": name})
    for number in (2, 3):
        result = run(task, registry, [{"text": f"my house {number}", "label": name}])
        assert result.version.version == number
        assert registry.read(f"t/first@{number}").manifest.labels == ["card", name, "travel"]


@pytest.mark.parametrize(("rows", "lesson"), [
    (PROMPTS, CHATS[0]), (CHATS, PROMPTS[0]), ([{"text": f"once {i}"} for i in range(30)], PROMPTS[0])])
def test_corrections_of_another_form_than_the_rows_are_told(rows: list[dict[str, Any]], lesson: dict[str, Any],
                                                            make: Make, run: Run) -> None:
    registry = make("text-generation", rows, "token_accuracy")
    with pytest.raises(DataError, match="1 are no rows for text-generation like those given"):
        run("text-generation", registry, [lesson])
    assert registry.numbers("t/first") == (1,)
