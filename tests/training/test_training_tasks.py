"""Tasks trained on tiny rows, exported, published, and served as stock transformers and PEFT answer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from tiny import answer_rows, write_rows
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from adapterhub.adapter.folder import CARD_FILE, read_folder
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
    assert verify_probe(read_folder(answers_folder), str(tiny_base_folder), tiny_settings) < 1e-4


def test_lines_of_python_on_the_question_answering_card_run(answers_folder: Path, tiny_base_folder: Path,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    usage = (answers_folder / CARD_FILE).read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    usage = usage.replace('"tiny-base"', repr(str(tiny_base_folder))).replace('"."', repr(str(answers_folder)))
    exec(compile(usage, "card", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 1
