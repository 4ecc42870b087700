"""Heads of every encoder family run on the shared hidden states as in the architecture's own model."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel
from peft_folders import write_peft_folder
from tiny import tiny_tokenizer
from transformers import (
    AutoModel,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    RobertaConfig,
)

from adapterhub.adapter.folder import read_folder
from adapterhub.bases.load import load_base
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.heads import Heads
from adapterhub.runtime.shared_base import SharedBase
from adapterhub.settings import Settings
from adapterhub.tasks.batch import collate
from adapterhub.tasks.question_answering import QuestionAnswering
from adapterhub.tasks.task import Example, TokenSequence
from adapterhub.training.methods import head_modules
from adapterhub.training.targets import encoder_targets

TOLERANCE = 1e-5
"""float32 sums in another order, relative to logits of unit scale."""
MIXED_TOLERANCE = 1e-4
"""The same through adapters: measured, stock float32 differs from stock float64 by up to 9.8e-5 on these rows."""
SIZE: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
                        "max_position_embeddings": 64, "pad_token_id": 0}
FAMILIES: dict[str, Any] = {
    "roberta": lambda n: RobertaConfig(vocab_size=n, type_vocab_size=1, **SIZE),
    "distilbert": lambda n: DistilBertConfig(vocab_size=n, dim=32, n_layers=2, n_heads=4, hidden_dim=48,
                                             max_position_embeddings=64, pad_token_id=0),
    "electra": lambda n: ElectraConfig(vocab_size=n, embedding_size=16, **SIZE),
    "modernbert": lambda n: ModernBertConfig(vocab_size=n, cls_token_id=2, sep_token_id=3, bos_token_id=2,
                                             eos_token_id=3, global_attn_every_n_layers=2, **SIZE),
    "deberta": lambda n: DebertaV2Config(vocab_size=n, relative_attention=True, pos_att_type=["p2c", "c2p"],
                                         position_buckets=16, type_vocab_size=0, **SIZE),
}
TASKS = {"text-classification": (AutoModelForSequenceClassification, "SEQ_CLS", ["a", "b", "c"]),
         "token-classification": (AutoModelForTokenClassification, "TOKEN_CLS", ["O", "B-X", "I-X", "B-Y", "I-Y"]),
         "question-answering": (AutoModelForQuestionAnswering, "QUESTION_ANS", ["start", "end"])}
SEQUENCES = [TokenSequence(input_ids=ids, token_type_ids=[0] * len(ids))
             for ids in ([2, 9, 12, 30, 3], [2, 8, 3], [2, 20, 21, 22, 23, 24, 25, 3])]


@pytest.fixture(scope="module", params=FAMILIES)
def base_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("families") / str(request.param)
    tokenizer = tiny_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = AutoModel.from_config(FAMILIES[request.param](len(tokenizer)))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def stock_logits(auto_class: Any, base_folder: Path, n_labels: int, folder: Path) -> list[torch.Tensor]:
    model = PeftModel.from_pretrained(auto_class.from_pretrained(base_folder, num_labels=n_labels), str(folder)).eval()
    reads_types = getattr(model.config, "type_vocab_size", 0) > 0
    with torch.inference_mode():
        outputs = [model(**{name: value for name, value in collate([sequence], 0).items()
                            if reads_types or name != "token_type_ids"}) for sequence in SEQUENCES]
    return [torch.stack([output.start_logits[0], output.end_logits[0]], dim=-1) if "start_logits" in output
            else output.logits[0] for output in outputs]


def test_mixed_tasks_of_a_family_equal_stock_peft(base_folder: Path, tmp_path: Path, tiny_settings: Settings) -> None:
    shared = SharedBase(load_base(str(base_folder), cache=tiny_settings.cache), RuntimeConfig(dtype="float32"))
    rows, expected = [], []
    for seed, (task, (auto_class, kind, labels)) in enumerate([*TASKS.items(), *TASKS.items()]):
        plain = auto_class.from_pretrained(base_folder, num_labels=len(labels))
        config = LoraConfig(task_type=kind, r=2 + 4 * (seed // 3), target_modules=encoder_targets(plain),
                            modules_to_save=head_modules(plain))
        path = write_peft_folder(tmp_path / str(seed), base_folder, tiny_settings.cache, config, seed=seed,
                                 auto_class=auto_class, task=task, labels=labels)
        adapter = shared.adapters.load(read_folder(path), in_use=())
        rows += [(adapter, Example(sequences=[sequence])) for sequence in SEQUENCES]
        expected += stock_logits(auto_class, base_folder, len(labels), path)
    found = shared.compute(rows)
    # DeBERTa projects relative positions by the adapted layers, so its adapters cannot share a pass.
    assert shared.n_passes == (6 if base_folder.name == "deberta" else 1)
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own[0], other, rtol=MIXED_TOLERANCE, atol=MIXED_TOLERANCE)


def test_question_answering_head_equals_the_architectures_own(base_folder: Path, tiny_settings: Settings) -> None:
    base = load_base(str(base_folder), cache=tiny_settings.cache)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        whole = AutoModelForQuestionAnswering.from_pretrained(base_folder).eval()
    trunk = base.load_trunk()
    own = {name: value.detach() for name, value in whole.named_parameters()
           if not name.startswith(whole.base_model_prefix + ".")}
    inputs = {name: value for name, value in collate(SEQUENCES, 0).items()
              if name != "token_type_ids" or getattr(base.config, "type_vocab_size", 0) > 0}
    task = QuestionAnswering()
    heads = Heads(base, trunk)
    with torch.inference_mode():
        found = heads.run(task, 2, heads.bind(task, 2, own), trunk(**inputs).last_hidden_state, inputs)
        expected = task.outputs(whole(**inputs), inputs)
    torch.testing.assert_close(found, expected, rtol=TOLERANCE, atol=TOLERANCE)
