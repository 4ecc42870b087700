"""An error is one sentence with the bad value, and the next step."""

import pytest

from adapterhub import errors


def test_unknown_name_lists_the_known_and_the_near() -> None:
    error = errors.UnknownName("task", "text-clasification", ["token-classification", "text-classification"])
    assert str(error) == ("Unknown task 'text-clasification'; known: text-classification, token-classification. "
                          "Did you mean text-classification or token-classification?")


def test_base_mismatch_shows_both_short_fingerprints() -> None:
    error = errors.BaseMismatch("a/b@1", "a" * 64, "b" * 64)
    assert f"base {'a' * 12}, this base is {'b' * 12}." in str(error)


def test_many_faults_are_told_shortly() -> None:
    error = errors.InvalidFolder("a", [f"fault {number}" for number in range(20)])
    assert "fault 7; and 12 more" in str(error)
    assert len(error.faults) == 20


def test_adapter_not_found_keeps_its_facts() -> None:
    error = errors.AdapterNotFound("a/b", where="here", near=["a/c"], why="it has none")
    assert (error.reference, error.near) == ("a/b", ["a/c"])
    assert str(error) == "No adapter 'a/b' in here: it has none. Did you mean a/c?"


@pytest.mark.parametrize("kind", [value for value in vars(errors).values()
                                  if isinstance(value, type) and issubclass(value, Exception)])
def test_every_error_is_ours_and_documented(kind: type[Exception]) -> None:
    assert issubclass(kind, errors.AdapterHubError)
    assert kind.__doc__
