"""Answers and feedback to write, each a few words long."""

from typing import Any

from sqlalchemy import select

from adapterhub.feedback.records import Feedback, KeptAnswer, KeptTexts
from adapterhub.feedback.store import FeedbackStore
from adapterhub.feedback.tables import ANSWERS, FEEDBACK, TEXTS
from adapterhub.feedback.writing import add_answers, add_feedback

DAY_MS = 86_400_000
DIGEST = "a" * 64


def answer(answer_id: str, **changes: Any) -> KeptAnswer:
    given: dict[str, Any] = {"at_ms": 1000, "holder": "desk", "reference": "support/intents@production",
                             "version": "support/intents@3", "digest": DIGEST, "task": "text-classification",
                             "label": "card", "seconds": 0.004}
    return KeptAnswer(id=answer_id, **(given | changes))


def said(answer_id: str, **changes: Any) -> Feedback:
    given: dict[str, Any] = {"holder": "desk", "at_ms": 2000}
    return Feedback(answer_id=answer_id, **(given | changes))


def texts(answer_id: str, text: str = "where is my card") -> KeptTexts:
    return KeptTexts(answer_id=answer_id, row={"text": text}, result={"label": "card"})


def write_answers(store: FeedbackStore, *answers: KeptAnswer, with_texts: bool = False) -> None:
    kept = [texts(own.id) for own in answers] if with_texts else []
    store.write(lambda connection: add_answers(connection, answers, kept))


def write_feedback(store: FeedbackStore, feedback: Feedback) -> bool:
    return store.write(lambda connection: add_feedback(connection, feedback))


def counts(store: FeedbackStore) -> tuple[int, int, int]:
    """How many lines the tables have: answers, feedback, texts."""
    with store.reading() as connection:
        found = [len(connection.execute(select(table)).all()) for table in (ANSWERS, FEEDBACK, TEXTS)]
    return found[0], found[1], found[2]
