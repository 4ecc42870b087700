"""Customer service: intent, entities, the best answer by matching, and a person where the house is not sure.

    python -m scripts.scenarios.customer_service --quick

Messages are test rows of Banking77, with rows of CLINC150 that are no bank's business among them. What support says to
an intent stands in replies.toml and was written for this scenario; which question it once answered is a training row.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapterhub.demo.show import Screen
from adapterhub.settings import Settings
from scripts.scenarios.choosing import least_confidence
from scripts.scenarios.frame import Options, Share, say_shares, scenario, share_of
from scripts.scenarios.house import BARE, Embeddings, House, embeddings_of, open_house
from scripts.scenarios.rows import draw, read_part

INTENTS, DESKS, ENTITIES = "support/banking77@production", "support/clinc150@production", "news/wnut17@production"
PRECISION = 0.95
"""Of what is answered without a person, this share shall be right on validation rows."""
SOLVED_PER_INTENT = 8
STRANGERS_SHARE = 4
"""One message for so many is no bank's business."""
OWN_DOMAINS = ("banking", "credit_cards")
"""CLINC150's domains that overlap with Banking77: their rows are neither one thing nor the other, and left out."""
N_SHOWN = 3
REPLIES = Path(__file__).with_name("replies.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a customer wrote, with its truth."""

    text: str
    intent: str | None
    """None: no bank's business."""
    domain: str
    """Of CLINC150 where it is no bank's business, else empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """Questions that support has answered, with their intents and embeddings [N, I]."""

    texts: list[str]
    intents: list[str]
    embeddings: Embeddings


@dataclass(frozen=True, slots=True, kw_only=True)
class Handling:
    """What the house made of one message."""

    message: Message
    intent: str
    """The best of the adapter's three, by its probability times the likeness of a solved question."""
    first_intent: str
    """The adapter's most probable one."""
    confidence: float
    """That product, 0 to 1."""
    solved: str
    """The solved question that is most like it."""
    desk: str
    """CLINC150's domain of the message: where it goes if it is handed over."""
    entities: list[str]

    @property
    def is_right(self) -> bool:
        """Whether the answer would be the right one."""
        return self.intent == self.message.intent


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured on the test messages."""

    threshold: float
    """The confidence from which on a message is answered; chosen on validation messages."""
    intent_alone: Share
    """Messages for the bank whose most probable intent is right."""
    answered: Share
    """Messages for the bank that were answered without a person."""
    answered_right: Share
    """Of all that were answered, strangers too."""
    strangers_handed_over: Share
    desk_right: Share
    """Strangers whose domain was recognised."""


@scenario("customer_service --quick", n_rows=300)
def main(options: Options, settings: Settings, screen: Screen) -> Figures:
    """Answer customers' messages, or hand them over to a person; the threshold comes from validation messages."""
    return run(options, settings, screen)


def run(options: Options, settings: Settings, screen: Screen) -> Figures:
    """Choose the threshold, handle the test messages, print and return what was measured. Raises DataError."""
    screen.title("Customer service: intent, entities, answer, or a person")
    validation, test = read_messages(options, settings)
    replies = tomllib.loads(REPLIES.read_text(encoding="utf-8"))
    domains = domains_of_labels(settings)
    with open_house((INTENTS, DESKS, ENTITIES), settings, screen) as house:
        solved = read_solved(house, options, settings)
        chosen_on = handle(house, validation, solved, domains)
        threshold = least_confidence([handling.confidence for handling in chosen_on],
                                     [handling.is_right for handling in chosen_on], precision=PRECISION)
        screen.say(f"Threshold {threshold:.3f}: from there on {PRECISION:.0%} of the answers to {len(validation)} "
                   "validation messages are right.")
        before = house.runtime.statistics()
        handled = handle(house, test, solved, domains)
        after = house.runtime.statistics()
    screen.say(f"{len(test)} test messages, {after.n_rows - before.n_rows} rows of three adapters and the bare base, "
               f"{after.n_passes - before.n_passes} passes.")
    show(handled, threshold, replies, screen)
    figures = measure(handled, threshold)
    say_shares({
        "most probable intent alone is right": figures.intent_alone,
        "bank's messages answered": figures.answered,
        "answers right": figures.answered_right,
        "strangers handed over": figures.strangers_handed_over,
        "their desk recognised": figures.desk_right}, screen)
    return figures


def read_messages(options: Options, settings: Settings) -> tuple[list[Message], list[Message]]:
    """Return validation and test messages that share none.

    The adapter has learned all training rows of Banking77, which has no validation part: one half of what is drawn from
    its test rows chooses the threshold, the other is measured. CLINC150 has both parts.
    """
    table = read_part(settings, "banking77", "test")
    pairs = list(dict(zip(table.column("text"), table.column("label"), strict=True)).items())  # one text comes twice
    drawn = [Message(text=text, intent=label, domain="") for text, label in draw(pairs, 2 * options.n_rows,
                                                                                 options.seed)]
    half = len(drawn) // 2
    validation, test = (draw([*own, *_strangers(part, len(own) // STRANGERS_SHARE, options, settings)], 2 * len(own),
                      options.seed) for part, own in (("validation", drawn[:half]), ("test", drawn[half:])))
    return validation, test


def domains_of_labels(settings: Settings) -> dict[str, str]:
    """Return CLINC150's label -> its domain."""
    table = read_part(settings, "clinc150", "train")
    return dict(zip(table.column("label"), table.column("domain"), strict=True))


def read_solved(house: House, options: Options, settings: Settings) -> Solved:
    """Draw some training questions of each intent, and embed them by the bare base."""
    table = read_part(settings, "banking77", "train")
    texts_of: dict[str, list[str]] = {}
    for text, label in zip(table.column("text"), table.column("label"), strict=True):
        texts_of.setdefault(label, []).append(text)
    pairs = [(label, text) for label in sorted(texts_of)
             for text in draw(texts_of[label], SOLVED_PER_INTENT, options.seed)]
    texts = [text for _, text in pairs]
    return Solved(texts=texts, intents=[label for label, _ in pairs], embeddings=house.embed(BARE, texts))


def handle(house: House, messages: Sequence[Message], solved: Solved, domains: Mapping[str, str]) -> list[Handling]:
    """Ask all adapters and the bare base for each message, in the same passes, and put their answers together."""
    references = (INTENTS, DESKS, ENTITIES, BARE)
    results = house.ask([(reference, message.text) for message in messages for reference in references])
    likeness = embeddings_of(results[3::4]) @ solved.embeddings.T  # [messages, solved]
    return [_handling(message, results[4 * i:4 * i + 3], likeness[i], solved, domains)
            for i, message in enumerate(messages)]


def measure(handled: Sequence[Handling], threshold: float) -> Figures:
    """Return the shares, with intervals over messages."""
    own = [handling for handling in handled if handling.message.intent]
    strangers = [handling for handling in handled if not handling.message.intent]
    answered = [handling for handling in handled if handling.confidence >= threshold]
    return Figures(
        threshold=threshold,
        intent_alone=share_of([handling.first_intent == handling.message.intent for handling in own]),
        answered=share_of([handling.confidence >= threshold for handling in own]),
        answered_right=share_of([handling.is_right for handling in answered]),
        strangers_handed_over=share_of([handling.confidence < threshold for handling in strangers]),
        desk_right=share_of([handling.desk == handling.message.domain for handling in strangers]))


def show(handled: Sequence[Handling], threshold: float, replies: Mapping[str, str], screen: Screen) -> None:
    """Print what happened to the first that were answered, and the first that were handed over."""
    answered = [handling for handling in handled if handling.confidence >= threshold]
    handed_over = [handling for handling in handled if handling.confidence < threshold]
    for handling in [*answered[:N_SHOWN], *handed_over[:N_SHOWN]]:
        names = f"  [{', '.join(handling.entities)}]" if handling.entities else ""
        screen.say(f"\n  customer: {handling.message.text}{names}")
        if handling.confidence >= threshold:
            screen.say(f"  {handling.intent} {handling.confidence:.2f}, like {handling.solved!r}")
            screen.say(f"  support:  {replies[handling.intent]}")
        else:
            screen.say(f"  {handling.intent} {handling.confidence:.2f}: to a person, desk {handling.desk}")
    screen.say("")


def _handling(message: Message, results: Sequence[dict[str, Any]], likeness: Any, solved: Solved,
              domains: Mapping[str, str]) -> Handling:
    intent, desk, entities = results
    nearest = {label: max((float(likeness[i]), i) for i, other in enumerate(solved.intents) if other == label)
               for label in [entry["label"] for entry in intent["top"]]}
    confidence, label = max((entry["score"] * max(0.0, nearest[entry["label"]][0]), entry["label"])
                            for entry in intent["top"])
    return Handling(message=message, intent=label, first_intent=intent["label"], confidence=confidence,
                    solved=solved.texts[nearest[label][1]], desk=domains[desk["label"]],
                    entities=[f"{entity['word']}: {entity['entity']}" for entity in entities["entities"]])


def _strangers(part: str, n: int, options: Options, settings: Settings) -> list[Message]:
    table = read_part(settings, "clinc150", part)
    rows = [Message(text=text, intent=None, domain=domain)
            for text, domain in zip(table.column("text"), table.column("domain"), strict=True)
            if domain not in OWN_DOMAINS]
    return draw(rows, max(2, n), options.seed)


if __name__ == "__main__":
    main()
