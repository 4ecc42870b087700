"""E-mail addresses, phone and card numbers leave texts before they are kept; what is none stays."""

import pytest

from adapterhub.errors import InvalidConfig
from adapterhub.feedback.redact import CUT, Redactor


@pytest.mark.parametrize(("text", "cleaned"), [
    ("mail Anna.B@example.com, or müller@bücher.de.", "mail [email], or [email]."),
    ("'a+b@c.co.uk'/<x_y@z.org>", "'[email]'/<[email]>"),
    ("ring +49 30 901820 or 020 7946 0958", "ring [phone] or [phone]"),
    ("(415) 555-2671x12 at night", "[phone] at night"),
    ("my card 4111 1111 1111 1111, also 4111-1111-1111-1111", "my card [card], also [card]"),
    ("378282246310005 a@b.de +33 6 12 34 56 78", "[card] [email] [phone]"),
    ("order 12345678 of 2024-11-24 for 1,234.56", "order 12345678 of 2024-11-24 for 1,234.56"),
    ("card 4111 1111 1111 1112 has a wrong digit", "card 4111 1111 1111 1112 has a wrong digit"),
    ("@home, a@, @b and a @ b.de", "@home, a@, @b and a @ b.de"),
    ("", ""),
])
def test_text_is_cleaned(text: str, cleaned: str) -> None:
    assert Redactor().clean_text(text) == cleaned
    assert Redactor().clean_text(cleaned) == cleaned


def test_words_of_a_split_text_are_cleaned_together_and_keep_their_number() -> None:
    words = ["a@b.de", "call", "+49", "30", "901820", "pay", "4111", "1111", "1111", "1111", "."]
    cleaned = Redactor().clean({"tokens": words, "tags": ["O"] * len(words)})
    assert cleaned["tokens"] == ["[email]", "call", *["[phone]"] * 3, "pay", *["[card]"] * 4, "."]
    assert cleaned["tags"] == ["O"] * len(words)


def test_every_text_in_plain_values_is_cleaned_and_nothing_else_changes() -> None:
    value = {"a": [{"role": "user", "content": "a@b.de"}, 1.5, None, True], "c@d.de": ("x@y.de",)}
    assert Redactor().clean(value) == {"a": [{"role": "user", "content": "[email]"}, 1.5, None, True],
                                       "[email]": ["[email]"]}


def test_national_numbers_are_those_of_the_regions_that_are_named() -> None:
    assert Redactor(("GB",)).clean_text("0171 2345678 or 020 7946 0958") == "0171 2345678 or [phone]"
    assert Redactor(()).clean_text("020 7946 0958 +44 20 7946 0958") == "020 7946 0958 [phone]"
    with pytest.raises(InvalidConfig, match="'XX' is no country"):
        Redactor(("XX",))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", ["1 " * 200_000, "a@" * 200_000, "+1" * 200_000, "(4" * 200_000])
def test_text_that_is_made_to_take_long_is_cut(text: str) -> None:
    assert Redactor().clean_text(text).endswith(CUT)
