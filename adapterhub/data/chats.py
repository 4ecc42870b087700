"""Chats: messages with role and content, in the OpenAI form and in ShareGPT's. It knows no columns and no tasks.

Sources: the `messages` of OpenAI's chat API; `from` and `value` of ShareGPT's files.
"""

import contextlib
import json
from collections.abc import Sequence
from typing import Any

ANSWERING = "assistant"
"""The role whose messages are learned."""
ASKING = "user"
_SHARE_GPT = {"human": ASKING, "gpt": ANSWERING}


def parse_messages(value: Any) -> Any:
    """Return `[{"role": ..., "content": ...}, ...]`; what cannot be read as messages comes back as it is."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value)
    if not isinstance(value, list | tuple):
        return value
    return [_message(item) for item in value]


def chat_fault(messages: Any) -> str | None:
    """Return what keeps a chat from being learned, None where nothing does."""
    if not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
        return f"has messages {str(messages)[:60]}, expected a list of role and content"
    roles = [message["role"] for message in messages]
    if ASKING not in roles:
        return f"has a chat without a user turn: its roles are {_told(roles)}"
    if roles[-1] != ANSWERING:
        return f"has a chat that does not end with the assistant's answer: its roles are {_told(roles)}"
    if not messages[-1]["content"].strip():
        return "has a chat that ends with an empty answer"
    return None


def _message(item: Any) -> Any:
    if isinstance(item, dict) and "from" in item and "role" not in item:
        item = {"role": _SHARE_GPT.get(item["from"], item["from"]), "content": item.get("value")}
    return {"role": item.get("role"), "content": item.get("content")} if isinstance(item, dict) else item


def _is_message(message: Any) -> bool:
    return isinstance(message, dict) and all(isinstance(message.get(key), str) for key in ("role", "content"))


def _told(roles: Sequence[str]) -> str:
    return ", ".join(roles[:5]) + (" ..." if len(roles) > 5 else "")
