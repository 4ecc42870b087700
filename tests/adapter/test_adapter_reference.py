"""References parse into frozen records, or are refused with the allowed form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapterhub.adapter.reference import Reference, parse_path, require_alias
from adapterhub.errors import InvalidReference

HOSTILE = ["", "a", "a/", "/b", "a/b/c", "../b", "a/..", "a/b..c", "./b", "/etc/passwd", "A/b", "a/B", "a b/c", "a/b ",
           "a/b\n", "a/b\x00", "a/\u0441ard", "a/ｂ", "a/b@", "a/b@@", "a/b@0", "a/b@-1", "a/b@Production", "a/b@../x",
           "a/b@x/y", "a/b@sha256:abc", "a/b@sha256:XYZXYZXY", "a/b@sha256:" + "a" * 65, "a/" + "b" * 65,
           "a" * 65 + "/b", "-a/b", "a/.b", "a\\b/c", "a/b@x..y", "a/b@" + "p" * 65, "a/b@٣", "a/b@1e3",
           "a/b@99999999999"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference):
        Reference.parse(text)


@pytest.mark.parametrize(("text", "expected"), [
    ("support/intents", Reference(namespace="support", name="intents")),
    ("support/intents@latest", Reference(namespace="support", name="intents")),
    ("support/intents@3", Reference(namespace="support", name="intents", version=3)),
    ("a-b/c_d.e@production", Reference(namespace="a-b", name="c_d.e", alias="production")),
    ("a/b@sha256:0123abcd", Reference(namespace="a", name="b", digest="0123abcd")),
])
def test_each_form_is_parsed(text: str, expected: Reference) -> None:
    assert Reference.parse(text) == expected


@given(st.from_regex(r"[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?/[a-z0-9](@[1-9][0-9]{0,3})?", fullmatch=True))
def test_parsed_reference_is_written_as_it_was_read(text: str) -> None:
    assert str(Reference.parse(text)) == text


def test_path_with_a_version_is_refused_where_a_bare_one_is_needed() -> None:
    with pytest.raises(InvalidReference, match="Use a/b"):
        parse_path("a/b@3")


@pytest.mark.parametrize("text", ["latest", "3", "x/y", "..", "", "a" * 65, "sha256:0123abcd"])
def test_name_that_cannot_be_an_alias_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference):
        require_alias(text)
