"""Answers that stand in a text: SQuAD's form, and simpler ones, as a list of texts with their places.

It knows no columns and no tasks.
"""

import contextlib
import json
from collections.abc import Mapping
from typing import Any


def parse_answers(value: Any) -> Any:
    """Return `[{"text": ..., "start": ...}, ...]`; what cannot be read as answers comes back as it is.

    Reads `{"text": [...], "answer_start": [...]}` (SQuAD), that as JSON, a text, or a list of texts; `start` is None
    where the place is not given.
    """
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value)
    if isinstance(value, str):
        value = [value] if value else []
    if isinstance(value, list) and all(isinstance(text, str) for text in value):
        return [{"text": text, "start": None} for text in value]
    if not isinstance(value, dict):
        return value
    texts, starts = _as_list(value.get("text")), _as_list(value.get("answer_start"))
    if not all(isinstance(text, str) for text in texts) or len(texts) != len(starts):
        return value
    return [{"text": text, "start": start} for text, start in zip(texts, starts, strict=True)]


def place_answers(row: Mapping[str, Any]) -> str | None:
    """Set each answer's missing place to its first in the row's context; return what is wrong, None where nothing is.

    Changes the answers in place.
    """
    answers, context = row["answers"], row["context"]
    if not isinstance(answers, list) or not all(map(_is_answer, answers)):
        return f"has answers {str(answers)[:60]}, expected texts and as many answer_start"
    for answer in answers:
        text, start = answer["text"], answer["start"]
        if not text.strip():
            return "has an empty answer"
        if start is None:
            answer["start"] = start = context.find(text)
        if not isinstance(start, int) or start < 0 or context[start:start + len(text)] != text:
            where = f" at character {start}" if isinstance(start, int) and start >= 0 else ""
            return f"has the answer {text[:40]!r}, which its context does not hold{where}"
    return None


def _is_answer(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("text"), str) and "start" in value


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
