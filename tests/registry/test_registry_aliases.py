"""Aliases move one after another, keep their whole history and find their way back."""

from pathlib import Path

import pytest
from adapter_folders import write_adapter_folder
from hypothesis import given
from hypothesis import strategies as st

from adapterhub.errors import AdapterNotFound, InvalidFolder, InvalidReference, PromotionRefused
from adapterhub.registry import Registry
from adapterhub.registry.aliases import Mark, Target, history, promote, rollback, rollback_target
from adapterhub.registry.stores import open_store

ALIAS = "a/b@production"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "registry")
    for seed in range(4):
        registry.publish(write_adapter_folder(tmp_path / str(seed), seed=seed), "a/b")
    return registry


def promoted(registry: Registry, *versions: int) -> None:
    for version in versions:
        registry.promote(f"a/b@{version}", "production")


def test_history_tells_every_move_in_order(registry: Registry) -> None:
    promoted(registry, 1, 3)
    registry.rollback(ALIAS)
    told = [(move.number, move.version, move.action, move.previous) for move in registry.history(ALIAS)]
    assert told == [(1, 1, "promote", None), (2, 3, "promote", 1), (3, 1, "rollback", 3)]


def test_move_pins_the_digest(registry: Registry) -> None:
    promoted(registry, 2)
    assert registry.history(ALIAS)[0].digest == registry.resolve("a/b@2").digest


def test_rollback_points_to_the_version_before(registry: Registry) -> None:
    promoted(registry, 1, 2)
    registry.rollback(ALIAS)
    assert registry.resolve(ALIAS).version == 1


def test_repeated_rollbacks_go_further_back(registry: Registry) -> None:
    promoted(registry, 1, 2, 3)
    assert [registry.rollback(ALIAS).version for _ in range(2)] == [2, 1]


def test_two_steps_at_once_are_two_rollbacks(registry: Registry) -> None:
    promoted(registry, 1, 2, 3)
    assert registry.rollback(ALIAS, steps=2).version == 1


def test_promotion_after_a_rollback_goes_on_from_there(registry: Registry) -> None:
    promoted(registry, 1, 2)
    registry.rollback(ALIAS)
    promoted(registry, 4)
    assert registry.rollback(ALIAS).version == 1


@pytest.mark.parametrize("steps", [0, 2, 3])
def test_rollback_past_the_beginning_is_refused(steps: int, registry: Registry) -> None:
    promoted(registry, 1, 2)
    with pytest.raises(PromotionRefused, match=f"cannot go back {steps} step.* it has 1 to go back"):
        registry.rollback(ALIAS, steps=steps)
    assert len(registry.history(ALIAS)) == 2


def test_rollback_to_a_yanked_version_is_refused(registry: Registry) -> None:
    promoted(registry, 1, 2)
    registry.yank("a/b@1", "leaks")
    with pytest.raises(PromotionRefused, match="a/b@1 is yanked"):
        registry.rollback(ALIAS)


def test_promotion_of_a_yanked_version_is_refused(registry: Registry) -> None:
    registry.yank("a/b@1", "leaks")
    with pytest.raises(PromotionRefused, match="is yanked"):
        promoted(registry, 1)


def test_promotion_of_an_absent_version_is_refused(registry: Registry) -> None:
    with pytest.raises(AdapterNotFound):
        promoted(registry, 9)


@pytest.mark.parametrize("alias", ["latest", "3", "../x", "A", "", "x@y", "sha256:00000000"])
def test_hostile_alias_is_refused(alias: str, registry: Registry) -> None:
    with pytest.raises(InvalidReference):
        registry.promote("a/b", alias)


def test_promotion_to_where_it_points_already_adds_no_move(registry: Registry) -> None:
    promoted(registry, 1, 1)
    assert len(registry.history(ALIAS)) == 1


def test_alias_can_be_promoted_from_another_alias(registry: Registry) -> None:
    registry.promote("a/b@2", "staging")
    registry.promote("a/b@staging", "production")
    assert registry.aliases("a/b") == {"production": 2, "staging": 2}


def test_history_of_an_alias_that_never_moved_is_not_found(registry: Registry) -> None:
    promoted(registry, 1)
    with pytest.raises(AdapterNotFound, match=r"never moved\. Did you mean a/b@production\?"):
        registry.history("a/b@prod-uction")


@pytest.mark.parametrize("reference", ["a/b", "a/b@3", "a/b@latest"])
def test_history_needs_an_alias(reference: str, registry: Registry) -> None:
    with pytest.raises(InvalidReference, match="names no alias"):
        registry.history(reference)


def test_expected_move_that_was_overtaken_refuses_the_promotion(registry: Registry) -> None:
    registry.promote("a/b@1", "production", expected=0)
    with pytest.raises(PromotionRefused, match="expected move 0, found 1"):
        registry.promote("a/b@2", "production", expected=0)
    assert registry.resolve(ALIAS).version == 1


def test_rollback_that_was_overtaken_is_refused(registry: Registry) -> None:
    store = open_store(registry.where)
    promoted(registry, 1, 2)
    moves = history(store, "a/b", "production")
    promoted(registry, 3)
    with pytest.raises(PromotionRefused, match="moved meanwhile"):
        rollback(store, moves[-1], rollback_target(moves, 1), Mark(at="now"))
    assert registry.resolve(ALIAS).version == 3


def test_two_who_expect_the_same_move_cannot_both_win(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(registry.where)
    real = store.create

    def create_after_another(key: str, data: bytes) -> bool:
        monkeypatch.setattr(store, "create", real)
        registry.promote("a/b@2", "production")  # exactly between the other's look and its move
        return real(key, data)

    monkeypatch.setattr(store, "create", create_after_another)
    with pytest.raises(PromotionRefused):
        promote(store, "a/b", "production", Target(version=1, digest="0" * 64), Mark(at="now"), expected=0)
    assert [move.version for move in registry.history(ALIAS)] == [2]


def test_damaged_move_is_never_passed_over_in_silence(registry: Registry, tmp_path: Path) -> None:
    promoted(registry, 1, 2)
    (tmp_path / "registry/a/b/aliases/production/2.json").write_bytes(b"{")
    with pytest.raises(InvalidFolder, match="cannot be trusted"):
        registry.resolve(ALIAS)


def test_alias_whose_version_has_another_digest_is_refused(registry: Registry) -> None:
    promote(open_store(registry.where), "a/b", "production", Target(version=1, digest="0" * 64), Mark(at="now"))
    with pytest.raises(InvalidFolder, match="the alias means digest 000000000000"):
        registry.resolve(ALIAS)


@given(st.lists(st.one_of(st.integers(1, 5), st.none()), max_size=30))
def test_alias_behaves_like_an_undo_stack(actions: list[int | None]) -> None:
    store, stack = open_store("memory://"), []
    for action in actions:
        if action is not None:
            promote(store, "a/b", "x", Target(version=action, digest=str(action)), Mark(at="now"))
            stack += [action] if stack[-1:] != [action] else []
        elif len(stack) > 1:
            moves = history(store, "a/b", "x")
            rollback(store, moves[-1], rollback_target(moves, 1), Mark(at="now"))
            stack.pop()
        assert not stack or history(store, "a/b", "x")[-1].version == stack[-1]
