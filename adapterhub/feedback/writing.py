"""What is written: answers many at a time; one holder's feedback on one answer, merged into what they said before."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Table, insert, select, update
from sqlalchemy.exc import IntegrityError

from adapterhub.feedback.records import Feedback, KeptAnswer, KeptTexts, Label, as_label
from adapterhub.feedback.tables import ANSWERS, CORRECTION, FEEDBACK, RESULT, ROW, TEXTS


def add_answers(connection: Connection, answers: Sequence[KeptAnswer], texts: Sequence[KeptTexts] = ()) -> None:
    """Write answers, and the texts of some of them; one that is there already stays as it is."""
    at_ms, holder = {answer.id: answer.at_ms for answer in answers}, {answer.id: answer.holder for answer in answers}
    _add(connection, ANSWERS, [_answer_line(answer) for answer in answers])
    _add(connection, TEXTS, [
        {"answer_id": kept.answer_id, "kind": kind, "holder": holder[kept.answer_id], "at_ms": at_ms[kept.answer_id],
         "value": to_json(value)} for kept in texts for kind, value in ((ROW, kept.row), (RESULT, kept.result))])


def find_answer(connection: Connection, answer_id: str) -> KeptAnswer | None:
    """Return an answer by its id; None where there is none."""
    line = connection.execute(select(ANSWERS).where(ANSWERS.c.id == answer_id)).one_or_none()
    return None if line is None else answer_of(line)


def add_feedback(connection: Connection, feedback: Feedback) -> bool:
    """Write what a holder says; what they do not say stays as it was. Return whether anything is new."""
    is_whose = (FEEDBACK.c.answer_id == feedback.answer_id) & (FEEDBACK.c.holder == feedback.holder)
    known = connection.execute(select(FEEDBACK).where(is_whose).with_for_update()).one_or_none()
    said = {"rating": feedback.rating, "label": None if feedback.label is None else to_json(feedback.label)}
    said = {name: value for name, value in said.items() if value is not None}
    is_new = known is None or any(known._mapping[name] != value for name, value in said.items())
    is_corrected = feedback.correction is not None and _add_correction(connection, feedback)
    if known is None:
        key = {"answer_id": feedback.answer_id, "holder": feedback.holder}
        connection.execute(insert(FEEDBACK).values(**key, at_ms=feedback.at_ms, **said))
    elif is_new or is_corrected:
        connection.execute(update(FEEDBACK).where(is_whose).values(at_ms=feedback.at_ms, **said))
    return is_new or is_corrected


def to_json(value: Any) -> str:
    """Return a value as JSON in ASCII, so that every database takes it; labels of a tuple in one order."""
    return json.dumps(sorted(value) if isinstance(value, tuple) else value, sort_keys=True)


def answer_of(line: Row[Any]) -> KeptAnswer:
    """Return an answer from its line."""
    return KeptAnswer(id=line.id, at_ms=line.at_ms, holder=line.holder, reference=line.reference, version=line.version,
                      digest=line.digest, task=line.task, label=label_from(line.label), seconds=line.seconds)


def label_from(text: str | None) -> Label | None:
    """Return a label from its JSON."""
    return None if text is None else as_label(json.loads(text))


def _answer_line(answer: KeptAnswer) -> dict[str, Any]:
    return {"id": answer.id, "at_ms": answer.at_ms, "holder": answer.holder, "reference": answer.reference,
            "adapter": answer.adapter, "version": answer.version, "digest": answer.digest, "task": answer.task,
            "label": None if answer.label is None else to_json(answer.label), "seconds": answer.seconds}


def _add(connection: Connection, table: Table, lines: Sequence[dict[str, Any]]) -> None:
    """Insert lines at once; where one is there already, which a commit of unknown end leaves, one by one."""
    if not lines:
        return
    try:
        with connection.begin_nested():
            connection.execute(insert(table), lines)
    except IntegrityError:
        for line in lines:
            key = [column == line[column.name] for column in table.primary_key]
            if connection.execute(select(*table.primary_key).where(*key)).first() is None:
                connection.execute(insert(table), line)


def _add_correction(connection: Connection, feedback: Feedback) -> bool:
    is_whose = ((TEXTS.c.answer_id == feedback.answer_id) & (TEXTS.c.kind == CORRECTION)
                & (TEXTS.c.holder == feedback.holder))
    value = to_json(feedback.correction)
    known = connection.execute(select(TEXTS.c.value).where(is_whose)).scalar_one_or_none()
    if known == value:
        return False
    changed = {"at_ms": feedback.at_ms, "value": value}
    if known is None:
        key = {"answer_id": feedback.answer_id, "kind": CORRECTION, "holder": feedback.holder}
        connection.execute(insert(TEXTS).values(**key, **changed))
    else:
        connection.execute(update(TEXTS).where(is_whose).values(**changed))
    return True
