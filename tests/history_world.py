"""What any history of the runtime is held against: adapter folders of many methods, and stock PEFT's word on each."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from peft import IA3Config, LoraConfig
from peft_folders import write_peft_folder
from stock import stock_model
from transformers import AutoModel, AutoModelForSequenceClassification, AutoModelForTokenClassification

from adapterhub.adapter.folder import read_folder
from adapterhub.bases.load import Base, load_base
from adapterhub.settings import Settings
from adapterhub.tasks.batch import collate
from adapterhub.tasks.table import find_task

TEXTS = ("my card", "where is anna from rome", "the new hotel please", "soup",
         "ben is in oslo about my loan rate today")
QUERY_VALUE = ["query", "value"]


@dataclass(frozen=True, slots=True)
class Kind:
    """What an adapter is made of."""

    config: Any
    task: str = "text-classification"
    n_labels: int = 3


def lora(task_type: str | None = "SEQ_CLS", **changes: Any) -> LoraConfig:
    return LoraConfig(**{"task_type": task_type, "r": 4, "target_modules": QUERY_VALUE, "lora_alpha": 6} | changes)


KINDS = {
    "rank-1": Kind(lora(r=1)),
    "rank-8": Kind(lora(r=8, target_modules="all-linear"), n_labels=5),
    "patterns": Kind(lora(rank_pattern={"layer.0.attention.self.query": 2}, alpha_pattern={"value": 9})),
    "rslora": Kind(lora(use_rslora=True, layers_to_transform=[1])),
    "biases": Kind(lora(bias="all"), n_labels=2),
    "dora": Kind(lora(use_dora=True)),
    "pissa": Kind(lora(init_lora_weights="pissa")),
    "ia3": Kind(IA3Config(task_type="SEQ_CLS", target_modules=["key", "value", "intermediate.dense"],
                          feedforward_modules=["intermediate.dense"])),
    "tags": Kind(lora("TOKEN_CLS"), "token-classification", 5),
    "embedding": Kind(lora(None), "sentence-similarity", 0),
}
AUTO_CLASSES = {"text-classification": AutoModelForSequenceClassification, "sentence-similarity": AutoModel,
                "token-classification": AutoModelForTokenClassification}


class World:
    """The folders, and what stock transformers and PEFT say of a text with each of them alone."""

    def __init__(self, place: Path, base_folder: Path, tiny_settings: Settings) -> None:
        self.base_folder, self.settings = base_folder, tiny_settings
        self.base: Base = load_base(str(base_folder), cache=tiny_settings.cache)
        self.folders = {
            name: write_peft_folder(place / name, base_folder, tiny_settings.cache, kind.config, seed=seed,
                                    auto_class=AUTO_CLASSES[kind.task], task=kind.task,
                                    labels=[f"B-{i}" if "token" in kind.task else str(i) for i in range(kind.n_labels)])
            for seed, (name, kind) in enumerate(KINDS.items())}
        self.digests = {name: read_folder(folder).digest for name, folder in self.folders.items()}
        self.expected = cache(self._expected)

    def _expected(self, name: str | None, text: str, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Return stock PEFT's output for one text, float32: logits [L], [T, L], or a unit embedding [I]."""
        task = find_task(KINDS[name].task if name else "sentence-similarity")
        example = task.encode([task.parse_row(text)], self.base.tokenizer, [], self.base.max_length)[0]
        inputs = collate(example.sequences, 0)
        with torch.inference_mode():
            output = task.outputs(self._model(name, dtype)(**inputs), inputs)
        return output[0].float()

    def spread(self, name: str | None) -> float:
        """Return the largest error that the stock model itself makes in bfloat16, over all texts."""
        return max(float((self.expected(name, text, torch.bfloat16) - self.expected(name, text)).abs().max())
                   for text in TEXTS)

    @cache  # noqa: B019  # one world lives as long as the module's tests
    def _model(self, name: str | None, dtype: torch.dtype) -> torch.nn.Module:
        kind = KINDS[name] if name else Kind(None, "sentence-similarity", 0)
        return stock_model(self.base_folder, kind.task, kind.n_labels, self.folders[name] if name else None).to(dtype)
