"""Stamps: whatever makes a reference mean another version changes the time of a folder that is watched."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from adapter_folders import write_adapter_folder

from adapterhub.adapter.reference import Reference
from adapterhub.registry import Registries, Registry
from adapterhub.server.stamps import Stamp, folders_of, is_settled, members_of, still_holds, take_stamp

NOW_NS = 10**18


@pytest.fixture
def registries(tmp_path: Path) -> Registries:
    """Two registries on this disk; the second has a/b in two versions, `live` is the first."""
    second = Registry(tmp_path / "second")
    second.publish(write_adapter_folder(tmp_path / "v1", seed=1), "a/b")
    second.publish(write_adapter_folder(tmp_path / "v2", seed=2), "a/b")
    second.promote("a/b@1", "live")
    return Registries(Registry(tmp_path / "first"), second)


def stamp_of(registries: Registries, reference: str, place: Path) -> Stamp:
    """Take a stamp after all folders were quiet for a long time."""
    for folder, _, _ in os.walk(place):
        os.utime(folder, (1, 1))
    version = registries.resolve(reference)
    return take_stamp(folders_of(members_of(registries), Reference.parse(reference), version))


def publish(registries: Registries, place: Path) -> None:
    registries.members[1].publish(write_adapter_folder(place / "v3", seed=3), "a/b")


def promote(registries: Registries, _: Path) -> None:
    registries.members[1].promote("a/b@2", "live")


def yank_first(registries: Registries, _: Path) -> None:
    registries.members[1].yank("a/b@1", "wrong labels")


def yank_second(registries: Registries, _: Path) -> None:
    registries.members[1].yank("a/b@2", "wrong labels")


def hide(registries: Registries, place: Path) -> None:
    registries.own.publish(write_adapter_folder(place / "v9", seed=9), "a/b")


@pytest.mark.parametrize(("reference", "change"), [
    ("a/b", publish), ("a/b", yank_second), ("a/b", hide), ("a/b@live", promote), ("a/b@live", yank_first),
    ("a/b@live", hide), ("a/b@1", yank_first), ("a/b@1", hide)])
def test_stamp_breaks_where_the_reference_comes_to_mean_something_else(
        registries: Registries, reference: str, change: Callable[[Registries, Path], None], tmp_path: Path) -> None:
    stamp = stamp_of(registries, reference, tmp_path)
    assert is_settled(stamp, NOW_NS)
    assert still_holds(stamp)
    change(registries, tmp_path)
    assert not still_holds(stamp)


def test_folder_that_changed_a_moment_ago_is_no_proof(registries: Registries, tmp_path: Path) -> None:
    stamp = stamp_of(registries, "a/b", tmp_path)
    times = [time_ns for _, time_ns in stamp if time_ns is not None]
    assert not is_settled(stamp, max(times) + 10**9)
    assert is_settled(stamp, max(times) + 3 * 10**9)


def test_number_that_is_claimed_and_no_version_yet_is_no_proof(registries: Registries, tmp_path: Path) -> None:
    (tmp_path / "second" / "a" / "b" / "versions" / "3").mkdir()
    assert stamp_of(registries, "a/b", tmp_path) == ()


def test_registry_that_is_no_folder_has_no_stamp() -> None:
    assert not still_holds(())
    assert not is_settled((), NOW_NS)
