"""A command lets torch's threads wait asleep, unless the environment says how they shall wait."""

import os

import pytest

from adapterhub.cli.output import guarded


def spin_count(monkeypatch: pytest.MonkeyPatch, given: dict[str, str]) -> str | None:
    """Return the setting as a command sees it."""
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # so that what the command sets is undone after the test
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    seen: list[str | None] = []
    guarded(lambda: seen.append(os.environ.get("GOMP_SPINCOUNT")))()
    return seen[0]


def test_threads_spin_shortly(monkeypatch: pytest.MonkeyPatch) -> None:
    assert spin_count(monkeypatch, {}) == "1000"


@pytest.mark.parametrize(("given", "expected"), [({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)])
def test_setting_from_outside_wins(given: dict[str, str], expected: str | None,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    assert spin_count(monkeypatch, given) == expected
