"""What a task that writes learns of its rows: completions or whole texts, alone or packed where the model can.

Transformers' models see by positions that begin anew that a sequence holds several texts; not all do.
"""

import inspect
import warnings
from collections.abc import Sequence

from peft import PeftModel

from adapterhub.bases.load import Base
from adapterhub.errors import InvalidConfig
from adapterhub.tasks.packing import joined, pack
from adapterhub.tasks.probe import draw_rows, probe_examples
from adapterhub.tasks.task import Example, Task
from adapterhub.tasks.text_generation import learned_whole
from adapterhub.training.config import TrainConfig
from adapterhub.training.evaluate import compute_outputs
from adapterhub.training.methods import TrainedModel

_TOLERANCE = 1e-4
"""Largest difference of a token's log-probability, by the largest; float32 sums over longer rows differ by 1e-6."""


def arranged_lessons(config: TrainConfig, lessons: Sequence[Example]) -> Sequence[Example]:
    """Return what is learned one by one as the settings ask for it."""
    if config.learn_prompts:
        lessons = [learned_whole(lesson) for lesson in lessons]
    return pack(lessons, config.length) if config.pack else lessons


def require_packable(trained: TrainedModel, task: Task, base: Base) -> None:
    """Raise InvalidConfig where texts that share a sequence see each other in this model. Sets evaluation mode."""
    inside = trained.model.get_base_model() if isinstance(trained.model, PeftModel) else trained.model
    if "position_ids" not in inspect.signature(inside.forward).parameters or not _are_blind(trained, task, base):
        raise InvalidConfig(f"Texts packed into one sequence would see each other in a {base.config.model_type} "
                            "trained this way.", hint="Leave out --pack.")


def _are_blind(trained: TrainedModel, task: Task, base: Base) -> bool:
    """Say whether the probe's texts get packed what they get alone."""
    examples = probe_examples(task, draw_rows(base.tokenizer))
    pad_id = int(base.tokenizer.pad_token_id or 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT warns where a method drops positions, which is what is looked for
        alone = [own[0] for own in compute_outputs(trained.model, task, examples, pad_id, batch_size=1)]
        packed = compute_outputs(trained.model, task, [joined(examples)], pad_id)[0][0]
    return all(float((own - found).abs().max()) <= _TOLERANCE * max(1.0, float(own.abs().max()))
               for own, found in zip(alone, packed.split([len(own) for own in alone]), strict=True))
