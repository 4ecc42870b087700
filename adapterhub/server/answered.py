"""One answer as it left the server, with its own id: what feedback, and whoever else listens, is told."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredRow:
    """One row that was answered. It holds the text; whoever listens decides whether any of it is kept."""

    id: str
    """Of the answer, unique; the caller has it too."""
    holder: str
    """Id of the token that asked."""
    reference: str | None
    """As it was asked for."""
    version: str | None
    """`namespace/name@3`; None: the bare base."""
    digest: str | None
    task: str
    row: Any
    """What was asked: a text, or the row's fields."""
    result: Mapping[str, Any]
    seconds: float
    """From the request to the answer."""


AnswerListener = Callable[[AnsweredRow], object]
"""Called in the event loop for each answer before it is sent: it must not wait."""


def new_answer_id() -> str:
    """Return an id that nobody can guess."""
    return f"ans_{secrets.token_hex(12)}"


def choice_id(answer_id: str, i: int, n_choices: int) -> str:
    """Return the id of one of several choices, which is judged on its own; of the only one it is the answer's."""
    return answer_id if n_choices == 1 else f"{answer_id}-{i}"


def new_request_id() -> str:
    """Return an id for a request that brought none."""
    return f"req_{secrets.token_hex(8)}"
