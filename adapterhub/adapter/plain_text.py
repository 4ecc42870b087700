"""Texts that others wrote and that pages and terminals will show: what would act there instead of being read."""

import html
import re
from pathlib import Path

from adapterhub.errors import InvalidFolder

_ACTING_TAG = re.compile(r"<\s{0,20}(?:/\s{0,20})?(script|iframe|embed|applet|frame|frameset)\b", re.IGNORECASE)
_HANDLER = re.compile(r"<\s{0,20}[a-z][^<>]{0,2000}?[\s\"'/](on[a-z]{3,30})\s*=", re.IGNORECASE)
_ADDRESS = re.compile(r"(\]\(|\]:|href|src|<)[\s\"'=<]{0,20}(javascript|vbscript)\s*:", re.IGNORECASE)
_CONTROL = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f]")
"""All but tab and line feed, and the carriage return before one."""
_ACTING = ((_ACTING_TAG, "a tag that runs or embeds code"), (_HANDLER, "a tag's event handler"),
           (_ADDRESS, "a link that runs code"), (_CONTROL, "a control character"))


def require_harmless(data: bytes, folder: Path, name: str) -> None:
    """Refuse a text that runs a script in a page or moves a terminal's cursor. Raises InvalidFolder with the places."""
    try:
        text = data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise InvalidFolder(str(folder), [f"{name} is not UTF-8 at byte {error.start}"]) from error
    faults = [f"{name} has {what} in line {text.count(chr(10), 0, match.start()) + 1}: {match.group()[:40]!r}"
              for pattern, what in _ACTING if (match := pattern.search(text))]
    if not faults and _ADDRESS.search(html.unescape(text)):
        faults = [f"{name} has a link that runs code, spelt with entities"]
    if faults:
        raise InvalidFolder(str(folder), faults, hint="A card is Markdown for people: take that out of it.")


def made_harmless(text: str) -> str:
    """Return a text that `require_harmless` lets pass: what would act is shown as it was written."""
    for pattern, _ in _ACTING:
        while pattern.search(text):  # what was inside one match may be the beginning of another
            text = pattern.sub(_as_written, text)
    return text.replace("&", "&amp;") if _ADDRESS.search(html.unescape(text)) else text


def _as_written(match: re.Match[str]) -> str:
    if match.re is _CONTROL:
        return "\ufffd"
    return match.group().replace("<", "&lt;").replace(":", "%3A")
