"""Texts without e-mail addresses, phone and card numbers, before any of them is kept.

What is one, libraries decide: email-validator, phonenumbers (Google's libphonenumber), the Luhn check of python-stdnum.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from email_validator import EmailNotValidError, validate_email
from phonenumbers import SUPPORTED_REGIONS, Leniency, PhoneNumberMatcher
from stdnum import luhn

from adapterhub.errors import InvalidConfig

EMAIL, PHONE, CARD = "[email]", "[phone]", "[card]"
REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "IN", "BR")
"""Whose national ways to write a phone number are known by default; numbers with + are found from everywhere."""
_EMAIL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w.-]{1,253}")
_CARD = re.compile(r"(?<![\w])\d(?:[ .-]?\d){11,18}(?!\w)")
"""12 to 19 digits, perhaps in groups. Source: ISO/IEC 7812-1."""
_LEAST_PHONE_DIGITS = 6
LONGEST, CUT = 20_000, "[cut]"
"""Characters of a text that is kept: looking for numbers in 100,000 that are all digits takes seconds."""
_WORDS = "tokens"
"""The field whose texts are one text, split into words."""
Span = tuple[int, int, str]
"""First character, the one behind the last, and what stands there instead."""


@dataclass(frozen=True, slots=True)
class Redactor:
    """Cleans texts. Thread-safe."""

    regions: tuple[str, ...] = REGIONS

    def __post_init__(self) -> None:
        for region in self.regions:
            if region not in SUPPORTED_REGIONS:
                raise InvalidConfig(f"{region!r} is no country whose phone numbers are known.",
                                    hint="Give its two letters (ISO 3166), for instance DE.")

    def clean(self, value: Any) -> Any:
        """Return plain values with every text in them cleaned; words of `tokens` keep their number."""
        if isinstance(value, str):
            return self.clean_text(value)
        if isinstance(value, Mapping):
            return {self.clean_text(str(name)): self._clean_words(item) if name == _WORDS else self.clean(item)
                    for name, item in value.items()}
        return [self.clean(item) for item in value] if isinstance(value, list | tuple) else value

    def clean_text(self, text: str) -> str:
        """Return a text with what was found replaced by what it was; one that is very long is cut."""
        text = text if len(text) <= LONGEST else f"{text[:LONGEST]}{CUT}"
        for find in (_emails, _cards, self._phones):
            for start, end, instead in sorted(find(text), reverse=True):
                text = text[:start] + instead + text[end:]
        return text

    def _clean_words(self, words: Any) -> Any:
        """Clean words that are one text: a number may fall into several. Each word of a find becomes its name."""
        if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
            return self.clean(words)
        cleaned = list(words)
        for find in (_emails, _cards, self._phones):
            before = tuple(cleaned)
            for start, end, instead in find(" ".join(before)):
                for i in _touched(before, start, end):
                    cleaned[i] = instead
        return cleaned

    def _phones(self, text: str) -> list[Span]:
        if sum(sign.isdigit() for sign in text) < _LEAST_PHONE_DIGITS:
            return []
        found: list[Span] = []
        for region in self.regions or (None,):
            for match in PhoneNumberMatcher(text, region, leniency=Leniency.VALID):
                if not any(start < match.end and match.start < end for start, end, _ in found):
                    found.append((match.start, match.end, PHONE))
        return found


def _touched(words: Iterable[str], start: int, end: int) -> list[int]:
    """Return the numbers of the words that a find in their text covers, in whole or in part."""
    touched, at = [], 0
    for i, word in enumerate(words):
        if at < end and start < at + len(word):
            touched.append(i)
        at += len(word) + 1
    return touched


def _emails(text: str) -> list[Span]:
    if "@" not in text:
        return []
    found: list[Span] = []
    for match in _EMAIL.finditer(text):
        candidate = match.group()
        start = match.start() + len(candidate) - len(candidate.lstrip(".-/'"))
        end = match.end() - (len(candidate) - len(candidate.rstrip(".-_")))
        if _is_email(text[start:end]):
            found.append((start, end, EMAIL))
    return found


def _is_email(candidate: str) -> bool:
    """Say whether a candidate is an address, also of a domain that the Internet does not know."""
    try:
        validate_email(candidate, check_deliverability=False, globally_deliverable=False, test_environment=True)
    except (EmailNotValidError, UnicodeError):
        return False
    return True


def _cards(text: str) -> list[Span]:
    return [(match.start(), match.end(), CARD) for match in _CARD.finditer(text)
            if luhn.is_valid(re.sub(r"\D", "", match.group()))]
