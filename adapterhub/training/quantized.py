"""A base held in 4 bits while an adapter is trained on it (QLoRA); what is stored is measured on the whole base.

Source: Dettmers et al. 2023 (QLoRA), arXiv 2305.14314 §3: NormalFloat with double quantisation.
"""

import importlib.util

import torch
from peft import prepare_model_for_kbit_training
from transformers import AutoConfig, BitsAndBytesConfig, PreTrainedModel

from adapterhub.bases.load import Base, quiet_transformers
from adapterhub.errors import InvalidConfig
from adapterhub.tasks.task import Task


def require_quantization() -> None:
    """Raise InvalidConfig where no base can be held in 4 bits: without CUDA, or without bitsandbytes."""
    if not torch.cuda.is_available():
        raise InvalidConfig("Method 'qlora' holds the base in 4 bits, which needs a CUDA device; here is none.",
                            hint="Give --method lora.")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise InvalidConfig("Method 'qlora' needs bitsandbytes, which the extra 'quantized' installs.",
                            hint="Run: pip install 'adapterhub[quantized]'.")


def load_in_4_bits(base: Base, task: Task, labels: list[str], *, whole: list[str]) -> PreTrainedModel:
    """Load the base under the task's head, in 4 bits but for the modules to keep `whole`; on the first CUDA device."""
    quantization = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
                                      bnb_4bit_compute_dtype=torch.bfloat16,
                                      llm_int8_skip_modules=[*whole, "lm_head"])
    config = base.config if task.writes else AutoConfig.from_pretrained(base.source.folder,
                                                                        num_labels=max(1, len(labels)))
    with quiet_transformers():
        model = task.auto_class.from_pretrained(base.source.folder, config=config, quantization_config=quantization,
                                                device_map={"": _device()}, local_files_only=True)
    prepared: PreTrainedModel = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    return prepared


def is_quantized(model: torch.nn.Module) -> bool:
    """Say whether a model's base is held in 4 bits."""
    return bool(getattr(model, "is_loaded_in_4bit", False))


def _device() -> str:
    return "cuda:0" if torch.cuda.is_available() else "cpu"
