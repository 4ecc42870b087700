"""Medical questions: topic, best-matching answers, and a refusal where the house has none.

    python -m scripts.scenarios.medical_questions --quick

Questions and answers are test rows of MedQuAD, of pages that the adapter has never seen. The answers of some pages are
taken away, so that there are questions which the house cannot answer; rows of CLINC150 are none of its business at all.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adapterhub.demo.show import Screen
from adapterhub.settings import Settings
from scripts.scenarios.choosing import least_confidence
from scripts.scenarios.frame import Options, Share, say_shares, scenario, share_of
from scripts.scenarios.house import House, embeddings_of, open_house
from scripts.scenarios.rows import draw, read_part

MATCHING, TOPICS = "medical/medquad@production", "medical/abstracts@production"
PRECISION = 0.95
"""Of the questions that are answered, this share shall get the right page on validation rows."""
UNKNOWN_SHARE, STRANGERS_SHARE = 4, 4
"""One page of so many is taken away; one question for so many is from elsewhere."""
ANSWER_CHARACTERS = 500
"""Answers are matched by their beginning: about the 128 tokens of which the adapter has learned."""
N_SHOWN, N_RANKED = 5, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of MedQuAD."""

    question: str
    answer: str
    page: str
    """The disease or topic that its page is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ward:
    """The questions of one part, and the answers that the house has."""

    known: list[Entry]
    unknown: list[Entry]
    """Their pages were taken away."""
    strangers: list[str]

    @property
    def questions(self) -> list[str]:
        """All questions: known, unknown, strangers."""
        return [*(entry.question for entry in (*self.known, *self.unknown)), *self.strangers]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What the house found for one question."""

    question: str
    topic: str
    best: list[int]
    """Places of the best answers among the known entries, best first."""
    confidence: float
    """The cosine of question and best answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured on the test questions."""

    threshold: float
    """The cosine from which on a question is answered; chosen on validation questions."""
    n_answers: int
    """That are ranked for each question."""
    answered: Share
    """Questions whose page the house has, and that were answered."""
    right_page: Share
    """Of all that were answered, whatever they were."""
    right_answer: Share
    """Of all that were answered: the very answer to this question stood first."""
    unknown_refused: Share
    """Medical questions whose page the house does not have."""
    strangers_refused: Share


@scenario("medical_questions --quick", n_rows=300)
def main(options: Options, settings: Settings, screen: Screen) -> Figures:
    """Answer medical questions from a house of pages, or refuse; the threshold comes from validation questions."""
    return run(options, settings, screen)


def run(options: Options, settings: Settings, screen: Screen) -> Figures:
    """Choose the threshold, answer the test questions, print and return what was measured. Raises DataError."""
    screen.title("Medical questions: topic, best-matching answers, or a refusal")
    validation, test = (read_ward(part, options, settings) for part in ("validation", "test"))
    with open_house((MATCHING, TOPICS), settings, screen) as house:
        accuracy = house.runtime.registry.read(house.versions[1]).manifest.metric("accuracy")
        found = find(house, validation)
        threshold = least_confidence([finding.confidence for finding in found], right_pages(validation, found),
                                     precision=PRECISION)
        screen.say(f"Threshold {threshold:.3f}: from there on {PRECISION:.0%} of the {len(found)} validation questions "
                   "get an answer of their own page.")
        found = find(house, test)
    show(test, found, threshold, screen)
    screen.say(f"Topics are not measured here, these questions have none; on its own test rows their adapter has an "
               f"accuracy of {accuracy:.2f}.")
    figures = measure(test, found, threshold)
    say_shares({
        "questions answered whose page is here": figures.answered,
        "answers from the right page": figures.right_page,
        "the very answer": figures.right_answer,
        "refused: medical, but no page here": figures.unknown_refused,
        "refused: not medical": figures.strangers_refused}, screen)
    return figures


def read_ward(part: str, options: Options, settings: Settings) -> Ward:
    """Draw the questions of one part. Raises DataError where the rows are absent."""
    table = read_part(settings, "medquad", part)
    rows = [Entry(question=question, answer=answer, page=page) for question, answer, page
            in zip(table.column("question"), table.column("answer"), table.column("focus"), strict=True)]
    entries = draw(rows, options.n_rows, options.seed)
    pages = draw(sorted({entry.page for entry in entries}), len(entries), options.seed)
    missing = set(pages[::UNKNOWN_SHARE])
    clinc = read_part(settings, "clinc150", part).column("text")
    return Ward(known=[entry for entry in entries if entry.page not in missing],
                unknown=[entry for entry in entries if entry.page in missing],
                strangers=draw(clinc, max(2, len(entries) // STRANGERS_SHARE), options.seed))


def find(house: House, ward: Ward) -> list[Finding]:
    """Ask both adapters for each question, and match it with every answer that the house has."""
    n = len(ward.questions)
    results = house.ask([*((MATCHING, question) for question in ward.questions),
                         *((TOPICS, question) for question in ward.questions),
                         *((MATCHING, entry.answer[:ANSWER_CHARACTERS]) for entry in ward.known)])
    cosines = embeddings_of(results[:n]) @ embeddings_of(results[2 * n:]).T  # [questions, answers]
    best = (-cosines).argsort(axis=1)[:, :N_RANKED]
    return [Finding(question=question, topic=results[n + i]["label"], best=best[i].tolist(),
                    confidence=float(cosines[i, best[i, 0]])) for i, question in enumerate(ward.questions)]


def right_pages(ward: Ward, found: Sequence[Finding]) -> list[bool]:
    """Say of each question whether the best answer is of its own page; never so for what the house cannot answer."""
    return [i < len(ward.known) and ward.known[finding.best[0]].page == ward.known[i].page
            for i, finding in enumerate(found)]


def measure(ward: Ward, found: Sequence[Finding], threshold: float) -> Figures:
    """Return the shares, with intervals over questions."""
    is_answered = [finding.confidence >= threshold for finding in found]
    n_known, n_medical = len(ward.known), len(ward.known) + len(ward.unknown)
    is_exact = [i < n_known and ward.known[finding.best[0]].answer == ward.known[i].answer
                for i, finding in enumerate(found)]
    return Figures(
        threshold=threshold, n_answers=n_known, answered=share_of(is_answered[:n_known]),
        right_page=share_of(_where(is_answered, right_pages(ward, found))),
        right_answer=share_of(_where(is_answered, is_exact)),
        unknown_refused=share_of([not answered for answered in is_answered[n_known:n_medical]]),
        strangers_refused=share_of([not answered for answered in is_answered[n_medical:]]))


def show(ward: Ward, found: Sequence[Finding], threshold: float, screen: Screen) -> None:
    """Print what happened to a few questions of each kind."""
    n_known, n_medical = len(ward.known), len(ward.known) + len(ward.unknown)
    for finding in [*found[:N_SHOWN - 2], found[n_known], found[n_medical]]:
        screen.say(f"\n  asked: {finding.question}")
        if finding.confidence < threshold:
            screen.say(f"  refused: the nearest answer is only {finding.confidence:.2f} like it")
            continue
        screen.say(f"  topic: {finding.topic}")
        for place in finding.best:
            entry = ward.known[place]
            screen.say(f"  {entry.page}: {textwrap.shorten(entry.answer, 100, placeholder='...')}")
        screen.say(f"  ({finding.confidence:.2f})")
    screen.say("")


def _where(chosen: Sequence[bool], values: Sequence[bool]) -> list[Any]:
    return [value for value, is_in in zip(values, chosen, strict=True) if is_in]


if __name__ == "__main__":
    main()
