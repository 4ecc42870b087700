"""The table of methods: what each is in PEFT, and its defaults with where they come from. It loads no library."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from adapterhub.errors import UnknownName

Serving = Literal["as it is", "as plain LoRA, which is what is written", "after `adapterhub convert`",
                  "by stock PEFT alone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to change a base with few trained numbers."""

    idea: str
    """In a few words, for the table that people read."""
    peft_class: str
    """The name of its configuration in PEFT; empty for full fine-tuning, which is no adapter."""
    rate: float
    """Default learning rate."""
    rate_from: str
    """Where the rate comes from."""
    rank: int | None = 8
    """Default rank; None where it has none."""
    most_rank: int = 256
    rank_field: str = "r"
    alpha_field: str | None = "lora_alpha"
    """None where it has no alpha; the default is twice the rank."""
    dropout_field: str | None = "lora_dropout"
    """None where it has no dropout."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the configuration that make it this method."""
    extras: Mapping[str, float] = field(default_factory=dict)
    """Options that are no fields of the configuration, with their defaults."""
    serving: Serving = "as it is"
    """How the runtime answers with it."""
    is_for_writing: bool = False
    """Whether it is for tasks that write text alone."""


_BANKING77 = "measured on banking77, see docs/methods.md"
_E2E = "measured on e2e_nlg, see docs/methods.md"
METHODS: Mapping[str, Method] = {
    "lora": Method(idea="a product of two thin matrices beside each weight", peft_class="LoraConfig", rate=2e-3,
                   rate_from=_BANKING77),
    "rslora": Method(idea="LoRA scaled by the root of the rank, for high ranks", peft_class="LoraConfig", rate=1e-3,
                     rate_from=_BANKING77, fixed={"use_rslora": True}),
    "dora": Method(idea="LoRA for a weight's direction, a vector for its magnitudes", peft_class="LoraConfig",
                   rate=2e-3, rate_from=_BANKING77, fixed={"use_dora": True}),
    "pissa": Method(idea="LoRA that starts at the weight's largest singular values", peft_class="LoraConfig",
                    rate=1e-3, rate_from=_BANKING77, fixed={"init_lora_weights": "pissa"},
                    serving="as plain LoRA, which is what is written"),
    "loraplus": Method(idea="LoRA+: B learns faster than A", peft_class="LoraConfig", rate=1e-3, rate_from=_BANKING77,
                       extras={"loraplus_lr_ratio": 16.0}),
    "qlora": Method(idea="LoRA on a base held in 4 bits (CUDA, bitsandbytes)", peft_class="LoraConfig", rate=2e-4,
                    rate_from="Dettmers et al. 2023, table 9; not run here"),
    "adalora": Method(idea="LoRA whose ranks are spread over the layers by their worth", peft_class="AdaLoraConfig",
                      rate=5e-3, rate_from=_BANKING77, rank_field="target_r", serving="after `adapterhub convert`"),
    "ia3": Method(idea="a vector of factors for each layer", peft_class="IA3Config", rate=1e-2, rate_from=_BANKING77,
                  rank=None, alpha_field=None, dropout_field=None),
    "vera": Method(idea="one pair of frozen random matrices for all layers, two vectors for each",
                   peft_class="VeraConfig", rate=1e-2, rate_from=_BANKING77, rank=256, most_rank=4096,
                   alpha_field=None,
                   dropout_field="vera_dropout", serving="after `adapterhub convert`"),
    "oft": Method(idea="a rotation of each weight, in blocks", peft_class="OFTConfig", rate=2e-3,
                  rate_from=_BANKING77, rank=None, alpha_field=None, dropout_field="module_dropout",
                  serving="after `adapterhub convert`"),
    "prompt-tuning": Method(idea="tokens of its own in front of the text", peft_class="PromptTuningConfig", rate=3e-2,
                            rate_from=_E2E, rank=None, alpha_field=None, dropout_field=None, is_for_writing=True,
                            fixed={"num_virtual_tokens": 20, "prompt_tuning_init": "SAMPLE_VOCAB"},
                            serving="by stock PEFT alone"),
    "prefix-tuning": Method(idea="keys and values of its own in front of the text, in each layer",
                            peft_class="PrefixTuningConfig", rate=1e-1, rate_from=_E2E, rank=None, alpha_field=None,
                            dropout_field=None, is_for_writing=True, fixed={"num_virtual_tokens": 20},
                            serving="by stock PEFT alone"),
    "full": Method(idea="the whole base, for comparison; gives no adapter", peft_class="", rate=1e-4,
                   rate_from=_BANKING77, rank=None, alpha_field=None, dropout_field=None),
}
"""Method -> what it is.

Validation accuracy on banking77, 30 labels, 25 rows each, 4 epochs, one seed (a row is 0.003), at its rate, then at
others:
LoRA 0.903; rsLoRA 0.913, 2e-3 0.907; DoRA 0.903; PiSSA 0.893, 5e-4 0.877, 2e-3 0.870; LoRA+ 0.893, 5e-4 0.887, and
2e-3 learned nothing; AdaLoRA 0.913, 1e-2 0.897; IA3 0.910, 3e-2 0.870; VeRA 0.907, 3e-2 0.893; OFT 0.913, 5e-3 0.873.
The rates of LoRA and `full` are those of all of banking77 (LoRA 0.934 after 6 epochs). Those of prompt and prefix
tuning are from 600 rows of e2e_nlg on two small language models; docs/methods.md has the perplexities.
"""


def find_method(name: str) -> Method:
    """Return a method by its name. Raises UnknownName."""
    if name not in METHODS:
        raise UnknownName("method", name, METHODS)
    return METHODS[name]
