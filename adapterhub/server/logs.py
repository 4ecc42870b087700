"""The server's log: one JSON object a line, on standard error, and no text of any request in it."""

import json
import logging
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

LOGGER = logging.getLogger("adapterhub.server")


class JsonLines(logging.Formatter):
    """Writes a record as one line of JSON: time, level, event, and the facts given as `extra={"facts": ...}`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. Of an error only its class and its places in the code: its message may hold a text."""
        line: dict[str, Any] = {"time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
                                "level": record.levelname.lower(), "event": record.getMessage()}
        facts = getattr(record, "facts", None)
        if isinstance(facts, Mapping):
            line |= facts
        if record.exc_info and record.exc_info[1] is not None:
            line |= _places(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False, default=str)


def log_to_stderr(level: str = "info") -> None:
    """Send the server's log, and uvicorn's, to standard error as lines of JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("adapterhub.server", "uvicorn", "uvicorn.error", "opentelemetry"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler] if name != "uvicorn.error" else [], name == "uvicorn.error"
        logger.setLevel(level.upper() if name == "adapterhub.server" else logging.WARNING)


def log(event: str, *, level: int = logging.INFO, error: BaseException | None = None, **facts: object) -> None:
    """Write one event with its facts."""
    LOGGER.log(level, event, extra={"facts": facts}, exc_info=error)


def _places(error: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)
    return {"error": type(error).__name__, "where": [f"{frame.filename}:{frame.lineno} {frame.name}"
                                                     for frame in frames[-12:]]}
