"""Tasks trained on tiny rows, exported, published, and served as stock transformers and PEFT answer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from stock import stock_outputs
from tiny import TOPICS, answer_rows, intent_rows, write_rows
from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification, AutoTokenizer

from adapterhub.adapter.folder import CARD_FILE, read_folder
from adapterhub.bases.load import load_base
from adapterhub.registry import Registry
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.engine import Runtime
from adapterhub.runtime.measure import evaluate_adapter, verify_probe
from adapterhub.settings import Settings

Serve = Callable[..., list[dict[str, Any]]]
FLOAT32 = RuntimeConfig(dtype="float32")


@pytest.fixture
def serve(tiny_base_folder: Path, tiny_settings: Settings, tmp_path: Path) -> Serve:
    """Publish a folder and answer rows with it: `serve(folder, row, ...)`."""
    def answers(folder: Path, *rows: Any) -> list[dict[str, Any]]:
        registry = Registry(tmp_path / "registry")
        registry.publish(folder, "t/own")
        runtime = Runtime(str(tiny_base_folder), registry, settings=tiny_settings, config=FLOAT32)
        return [answer.result for answer in runtime.predict([("t/own", row) for row in rows])]
    return answers


@pytest.fixture(scope="module")
def answers_folder(train_tiny: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("answers")
    rows = write_rows(place / "rows.jsonl", answer_rows())
    return train_tiny(place / "folder", "question-answering", str(rows), rank=4, epochs=12, max_length=20)


def test_question_answering_learns_where_answers_stand(answers_folder: Path) -> None:
    manifest = read_folder(answers_folder).manifest
    assert manifest.labels == ["start", "end"]
    f1, exact = manifest.metric("f1"), manifest.metric("exact_match")
    assert f1 is not None
    assert exact is not None
    assert f1 >= exact >= 0.7  # an answer picked by chance is right in a few of a hundred


def test_question_answering_is_served_as_stock_peft_answers(answers_folder: Path, tiny_base_folder: Path,
                                                            serve: Serve) -> None:
    rows = answer_rows(60)[-6:]
    plain = AutoModelForQuestionAnswering.from_pretrained(tiny_base_folder)
    model = PeftModel.from_pretrained(plain, str(answers_folder)).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_base_folder)
    found = serve(answers_folder, *({name: row[name] for name in ("question", "context")} for row in rows))
    for row, answer in zip(rows, found, strict=True):
        encoded = tokenizer(row["question"], row["context"], return_tensors="pt", truncation="only_second",
                            max_length=20, stride=5, return_overflowing_tokens=True, padding=True,
                            return_token_type_ids=True)
        encoded.pop("overflow_to_sample_mapping")
        with torch.inference_mode():
            output = model(**encoded)
        is_context = torch.tensor([[part == 1 for part in encoded.sequence_ids(i)]
                                   for i in range(len(encoded["input_ids"]))])
        first, last = (logits.masked_fill(~is_context, float("-inf")).flatten().softmax(dim=0).view(is_context.shape)
                       for logits in (output.start_logits, output.end_logits))
        joint = (first[:, :, None] * last[:, None, :]).triu()
        assert answer["score"] == pytest.approx(float(joint.max()), rel=1e-4)
        assert answer["answer"] == row["context"][answer["start"]:answer["end"]]


def test_question_answering_reads_stretches_as_long_as_in_training(answers_folder: Path, serve: Serve,
                                                                   tiny_base_folder: Path, tiny_settings: Settings,
                                                                   tmp_path: Path) -> None:
    rows = answer_rows(60)[-8:]
    folder = read_folder(answers_folder)
    data = write_rows(tmp_path / "test.jsonl", rows)
    evaluation = evaluate_adapter(folder, str(data), base=str(tiny_base_folder), settings=tiny_settings, columns={})
    found = serve(answers_folder, *((row["question"], row["context"]) for row in rows))
    right = sum(answer["answer"] == row["answers"]["text"][0] for answer, row in zip(found, rows, strict=True))
    assert evaluation.metrics["exact_match"] == pytest.approx(right / len(rows))


def test_question_answering_probe_holds_in_the_runtime(answers_folder: Path, tiny_base_folder: Path,
                                                       tiny_settings: Settings) -> None:
    base = load_base(str(tiny_base_folder), cache=tiny_settings.cache)
    difference = verify_probe(read_folder(answers_folder), base)
    assert difference is not None
    assert difference < 1e-4


def test_lines_of_python_on_the_question_answering_card_run(answers_folder: Path, tiny_base_folder: Path,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    usage = (answers_folder / CARD_FILE).read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    usage = usage.replace('"tiny-base"', repr(str(tiny_base_folder))).replace('"."', repr(str(answers_folder)))
    exec(compile(usage, "card", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 1


def topics_of(text: str) -> list[str]:
    return [topic for topic, words in list(TOPICS.items())[:3] if set(words) & set(text.split())]


TEXTS = [f"{one['text']} {two['text']}" for one, two in zip(intent_rows(3, 40), intent_rows(3, 40)[7:], strict=False)]
FORMS: dict[str, tuple[Callable[[str], dict[str, Any]], str]] = {
    "multi-label-classification": (lambda text: {"text": text, "labels": topics_of(text)}, "micro_f1"),
    "text-regression": (lambda text: {"text": text, "score": 2.0 * ("card" in topics_of(text)) - 1}, "pearson"),
}


@pytest.mark.parametrize("task", FORMS)
def test_labels_and_numbers_are_learned_and_served_as_stock_peft_answers(
        task: str, train_tiny: Callable[..., Path], tmp_path: Path, serve: Serve, tiny_base_folder: Path) -> None:
    row_of, metric = FORMS[task]
    rows = write_rows(tmp_path / "rows.jsonl", [row_of(text) for text in TEXTS])
    folder = train_tiny(tmp_path / "folder", task, str(rows), rank=4, epochs=20, learning_rate=5e-3)
    manifest = read_folder(folder).manifest
    value = manifest.metric(metric)
    assert value is not None
    assert value > 0.8
    plain = AutoModelForSequenceClassification.from_pretrained(tiny_base_folder, num_labels=len(manifest.labels))
    model = PeftModel.from_pretrained(plain, str(folder)).eval()
    for text, answer in zip(TEXTS[:4], serve(folder, *TEXTS[:4]), strict=True):
        logits = stock_outputs(tiny_base_folder, model, text)
        if task == "text-regression":
            assert answer["score"] == pytest.approx(float(logits[0]), abs=1e-5)
        else:
            scores = dict(zip(manifest.labels, logits.sigmoid().tolist(), strict=True))
            assert answer["labels"] == [label for label in sorted(scores, key=lambda name: -scores[name])
                                        if scores[label] >= 0.5]
            assert {line["label"]: line["score"] for line in answer["top"]} == pytest.approx(scores, abs=1e-5)


def test_card_tells_the_hubs_own_name_of_the_task(train_tiny: Callable[..., Path], tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [FORMS["text-regression"][0](text) for text in TEXTS])
    folder = train_tiny(tmp_path / "folder", "text-regression", str(rows))
    assert "pipeline_tag: text-classification" in (folder / CARD_FILE).read_text(encoding="utf-8")
