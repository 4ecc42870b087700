"""The arms of a comparison: ways to teach a base one task, each with the learning rates among which it is tuned."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as QUERY_VALUE

from adapterhub.bases.load import Base
from adapterhub.errors import InvalidConfig, UnknownName
from adapterhub.training.config import TASK_RATES


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One way."""

    name: str
    title: str
    """For tables and pictures."""
    method: str
    rates: tuple[float, ...]
    """Tried by the search, the first without one; read off banking77 and the example intents on the embedded base."""
    more: Mapping[str, Any]
    """Further settings of the run; `targets` may be `query-value`."""
    is_adapter: bool = True
    rate_of: str = ""
    """The arm whose best rate it takes, as it learns the very same way; empty: it has a search of its own."""


_FULL, _LORA = (2e-4, 1e-4, 4e-4), (2e-3, 1e-3, 4e-3)
_ARMS = (
    Arm(name="full", title="full fine-tuning", method="full", rates=_FULL, more={}, is_adapter=False),
    Arm(name="full-no-embeddings", title="full, embeddings frozen", method="full", rates=_FULL,
        more={"frozen": "embeddings"}, is_adapter=False),
    Arm(name="head", title="head only", method="full", rates=(5e-3, 2e-3, 1e-2), more={"frozen": "trunk"},
        is_adapter=False),
    Arm(name="lora-qv-r8", title="LoRA query-value, rank 8", method="lora", rates=(4e-3, 2e-3, 8e-3),
        more={"rank": 8, "targets": "query-value"}),
    Arm(name="lora-r2", title="LoRA all-linear, rank 2", method="lora", rates=_LORA, more={"rank": 2}),
    Arm(name="lora-r8", title="LoRA all-linear, rank 8", method="lora", rates=_LORA, more={"rank": 8}),
    Arm(name="lora-r32", title="LoRA all-linear, rank 32", method="lora", rates=_LORA, more={"rank": 32}),
    Arm(name="dora-r8", title="DoRA all-linear, rank 8", method="dora", rates=_LORA, more={"rank": 8}),
    Arm(name="ia3", title="IA3", method="ia3", rates=(1e-2, 5e-3, 3e-2), more={}),
    Arm(name="lora-r8-checkpointing", title="LoRA rank 8, gradient checkpointing", method="lora", rates=_LORA,
        more={"rank": 8, "gradient_checkpointing": True}, rate_of="lora-r8"),
    Arm(name="lean", title="adapterhub --preset lean", method="lora", rates=(3e-3, 2e-3, 5e-3),
        more={"preset": "lean"}),
    Arm(name="bare", title="bare base", method="bare", rates=(0.0,), more={}, is_adapter=False),
)
ARMS = {arm.name: arm for arm in _ARMS}
"""Name -> arm, in the order of tables."""


def find_arm(name: str) -> Arm:
    """Return an arm by its name. Raises UnknownName."""
    if name not in ARMS:
        raise UnknownName("arm", name, ARMS)
    return ARMS[name]


def rates_on(arm: Arm, task: str) -> tuple[float, ...]:
    """Return the learning rates that an arm tries on a task, which may ask adapters for less."""
    share = TASK_RATES.get(task, 1.0) if arm.is_adapter else 1.0
    return tuple(share * rate for rate in arm.rates)


def settings_on(arm: Arm, base: Base) -> dict[str, Any]:
    """Return an arm's further settings on a base, with the names that its layers have there.

    Raises InvalidConfig where nobody has said which of its layers are query and value. Source: PEFT's own table.
    """
    settings = dict(arm.more)
    if settings.get("targets") == "query-value":
        names = QUERY_VALUE.get(str(base.config.model_type))
        if not names:
            raise InvalidConfig(f"Which layers of a {base.config.model_type} base are query and value is not known.",
                                hint=f"Leave the arm {arm.name} out.")
        settings["targets"] = ",".join(names)
    return settings
