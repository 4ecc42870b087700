"""A base in memory under a task's head: a fresh one, or the language-model head that it has. It trains nothing."""

from collections.abc import Sequence

from transformers import PreTrainedModel

from adapterhub.bases.load import Base
from adapterhub.errors import InvalidConfig
from adapterhub.tasks.task import Task

_CAUSAL = ("ForCausalLM", "LMHeadModel")
"""How transformers names the architectures of causal language models."""


def require_fitting(base: Base, task: Task) -> None:
    """Raise InvalidConfig for a task that a base of this kind cannot have, before anything is loaded or encoded."""
    name, needs_source = base.source.id, task.peft_task_type == "SEQ_2_SEQ_LM"
    if base.config.is_encoder_decoder and task.peft_task_type in ("CAUSAL_LM", "SEQ_CLS"):
        raise InvalidConfig(f"{name} is an encoder-decoder, which {task.name} does not go with.",
                            hint="Give --task text2text-generation, or a base that is no encoder-decoder.")
    if needs_source and not base.config.is_encoder_decoder:
        raise InvalidConfig(f"{name} is no encoder-decoder, which {task.name} needs.",
                            hint="Give --task text-generation for a causal base, or a base as T5 or BART.")
    if task.peft_task_type == "SEQ_CLS" and base.config.pad_token_id is None and _finds_ends_by_padding(base):
        raise InvalidConfig(f"{name} names no padding token, and {task.name} finds where a text ends by it.",
                            hint="Write pad_token_id in its config.json: a token that no text holds.")


def load_for(base: Base, task: Task, labels: Sequence[str]) -> PreTrainedModel:
    """Load the base under a fresh head for these labels, or, for a task that writes, with its own one, frozen.

    Seeding a fresh head is the caller's. Raises BaseNotFound where the base cannot be loaded so.
    """
    if task.writes:
        return base.load_with_lm_head()
    return base.load_with_head(task.auto_class, n_labels=max(1, len(labels)))


def _finds_ends_by_padding(base: Base) -> bool:
    """Say whether transformers' sequence head on this base reads the last token before the padding: a causal one."""
    return any(name.endswith(_CAUSAL) for name in base.config.architectures or ())
