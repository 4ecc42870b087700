"""What is forgotten: one answer, a holder, a period; and what is past its time. It decides no times."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, func, or_, select

from adapterhub.feedback.tables import ANSWERS, FEEDBACK, TEXTS

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long things are kept."""

    texts_days: float = 30.0
    answers_days: float = 365.0
    """Answers, with what was said of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """How much is gone."""

    n_answers: int = 0
    n_feedback: int = 0
    n_texts: int = 0

    @property
    def total(self) -> int:
        """Everything together."""
        return self.n_answers + self.n_feedback + self.n_texts


def forget_answer(connection: Connection, answer_id: str) -> Forgotten:
    """Forget one answer with everything said of it, and every text."""
    return _forget(connection, texts=TEXTS.c.answer_id == answer_id, feedback=FEEDBACK.c.answer_id == answer_id,
                   answers=ANSWERS.c.id == answer_id)


def forget_holder(connection: Connection, holder: str) -> Forgotten:
    """Forget what a holder asked, with all that anybody said of it, and what they said of others' answers."""
    own = select(ANSWERS.c.id).where(ANSWERS.c.holder == holder)
    return _forget(connection, texts=or_(TEXTS.c.answer_id.in_(own), TEXTS.c.holder == holder),
                   feedback=or_(FEEDBACK.c.answer_id.in_(own), FEEDBACK.c.holder == holder),
                   answers=ANSWERS.c.holder == holder)


def forget_period(connection: Connection, since_ms: int, until_ms: int) -> Forgotten:
    """Forget what was answered or said in a period (the end left out), with all that was said of those answers."""
    own = select(ANSWERS.c.id).where(ANSWERS.c.at_ms >= since_ms, ANSWERS.c.at_ms < until_ms)

    def is_in(column: ColumnElement[int]) -> ColumnElement[bool]:
        return (column >= since_ms) & (column < until_ms)
    return _forget(connection, texts=or_(TEXTS.c.answer_id.in_(own), is_in(TEXTS.c.at_ms)),
                   feedback=or_(FEEDBACK.c.answer_id.in_(own), is_in(FEEDBACK.c.at_ms)), answers=is_in(ANSWERS.c.at_ms))


def expire(connection: Connection, retention: Retention, now_ms: int, *, n_most: int | None = None) -> Forgotten:
    """Forget what is past its time; of answers and texts at most `n_most` each, so that nobody waits long."""
    texts_end = now_ms - int(retention.texts_days * _DAY_MS)
    answers_end = now_ms - int(retention.answers_days * _DAY_MS)
    n_texts = 0
    times = connection.execute(select(TEXTS.c.at_ms).where(TEXTS.c.at_ms < texts_end).order_by(TEXTS.c.at_ms)
                               .limit(n_most)).scalars().all()
    if times:  # all up to the last of these: texts of one instant go together
        n_texts = connection.execute(delete(TEXTS).where(TEXTS.c.at_ms <= times[-1])).rowcount
    old = connection.execute(select(ANSWERS.c.at_ms).where(ANSWERS.c.at_ms < answers_end).order_by(ANSWERS.c.at_ms)
                             .limit(n_most)).scalars().all()
    if not old:
        return Forgotten(n_texts=n_texts)
    gone = forget_period(connection, 0, old[-1] + 1)
    return Forgotten(n_answers=gone.n_answers, n_feedback=gone.n_feedback, n_texts=n_texts + gone.n_texts)


def count_all(connection: Connection) -> Forgotten:
    """Return how much there is."""
    n_answers, n_feedback, n_texts = (connection.execute(select(func.count()).select_from(table)).scalar_one()
                                      for table in (ANSWERS, FEEDBACK, TEXTS))
    return Forgotten(n_answers=n_answers, n_feedback=n_feedback, n_texts=n_texts)


def _forget(connection: Connection, *, texts: ColumnElement[bool], feedback: ColumnElement[bool],
            answers: ColumnElement[bool]) -> Forgotten:
    """Delete in this order: the answers say which texts and feedback are meant."""
    n_texts = connection.execute(delete(TEXTS).where(texts)).rowcount
    n_feedback = connection.execute(delete(FEEDBACK).where(feedback)).rowcount
    return Forgotten(n_answers=connection.execute(delete(ANSWERS).where(answers)).rowcount, n_feedback=n_feedback,
                     n_texts=n_texts)
