"""What the demo trains, asks and compares. The defaults fit the embedded base and three minutes on two cores."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

INTENTS, ENTITIES = "support/intents", "support/entities"
LEAST_SHIPPED = 4
"""Adapters of the shipped registry that must answer beside the two that the demo trains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedRow:
    """One row of the mixed batch."""

    what: str
    """What the row is about, in a word or two."""
    reference: str
    row: Any


OWN_ROWS = (
    MixedRow(what="intent", reference=f"{INTENTS}@production", row="i sent the boots back and still have no money"),
    MixedRow(what="intent", reference=f"{INTENTS}@production", row="my parcel never came, where is it?"),
    MixedRow(what="entities", reference=f"{ENTITIES}@production",
             row="Order #48213 for Maria Jensen should go to Leeds by Friday."),
)
SHIPPED_ROWS = (
    MixedRow(what="sentiment", reference="finance/sentfin", row="Shares of the bank fall 8 % after a weak quarter"),
    MixedRow(what="bank intent", reference="support/banking77", row="the cash machine kept my card"),
    MixedRow(what="topic", reference="medical/abstracts",
             row="Left ventricular function was measured in 40 patients after myocardial infarction."),
    MixedRow(what="matched answer", reference="medical/medquad", row={
        "query": "What are the symptoms of asthma?", "candidates": [
            "Wheezing, coughing, chest tightness and shortness of breath are common.",
            "It is inherited in an autosomal recessive pattern.",
            "Wash the wound with clean water and cover it."]}),
    MixedRow(what="assistant intent", reference="support/clinc150", row="what is the exchange rate for euros"),
    MixedRow(what="entities", reference="news/wnut17", row="Taylor Swift plays in Singapore next March"),
    MixedRow(what="inference", reference="language/snli",
             row={"text": "A man plays a guitar on stage.", "text_pair": "A musician performs."}),
)
STREAM_TEXTS = ("where is my card", "please cancel order 5512", "the screen arrived cracked",
                "i cannot log in any more", "send me the invoice please")


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPlan:
    """One demo: where it writes, and how long it trains."""

    output: Path
    base: str = "embedded"
    batch_size: int = 16
    max_length: int = 64
    """Tokens; no example row is longer."""
    intents_epochs: int = 6
    intents_learning_rate: float = 1e-3
    entities_epochs: int = 12
    entities_learning_rate: float = 2e-3
    second_epochs: int = 2
    """Passes that the second version of the intents adapter is trained on for."""
    second_learning_rate: float = 5e-4
    compared_epochs: int = 4
    """Passes of each arm of the comparison."""
    adapter_learning_rate: float = 2e-3
    full_learning_rate: float = 3e-4
    """Measured on the intents, 4 epochs, one seed: full fine-tuning 0.889 at its default of 1e-4, which is for longer
    runs, 0.917 at 3e-4, 0.861 at 6e-4; the adapter 0.917 at its default."""
    requests_per_phase: int = 25
    """Requests of the stream before the alias moves, after it, and after the rollback."""
    own_rows: tuple[MixedRow, ...] = OWN_ROWS
    """For the adapters that the demo trains; all rows are of like length, or the runtime would take two passes."""
    shipped_rows: tuple[MixedRow, ...] = SHIPPED_ROWS
