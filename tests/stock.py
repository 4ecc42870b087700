"""The answers of stock transformers and PEFT for one row alone: the reference for training and runtime."""

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModel, AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoTokenizer

_AUTO_CLASSES = {"text-classification": AutoModelForSequenceClassification,
                 "token-classification": AutoModelForTokenClassification, "sentence-similarity": AutoModel}


def stock_model(base_folder: Path, task: str, n_labels: int, folder: Path | None) -> torch.nn.Module:
    """Load the base by transformers and, where a folder is given, the adapter by PEFT."""
    labels: dict[str, Any] = {"num_labels": n_labels} if n_labels else {}
    model: torch.nn.Module = _AUTO_CLASSES[task].from_pretrained(base_folder, **labels)
    return (model if folder is None else PeftModel.from_pretrained(model, str(folder))).eval()


def stock_outputs(base_folder: Path, model: torch.nn.Module, *texts: Any) -> torch.Tensor:
    """Return logits of one text, one pair or one list of words; a unit embedding where there is no head."""
    tokenizer = AutoTokenizer.from_pretrained(base_folder)
    encoded = tokenizer(*texts, is_split_into_words=isinstance(texts[0], list), return_tensors="pt",
                        return_token_type_ids=True)
    with torch.inference_mode():
        output = model(**encoded)
    if "logits" in output:
        return output.logits[0]
    return torch.nn.functional.normalize(output.last_hidden_state[0].mean(dim=0), dim=-1)
