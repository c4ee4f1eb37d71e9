"""The actions that the scheduler returns to its caller."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from fcemu.errors import FCError, Refusal
from fcemu.scheduling.actions import Action, Assign, Refuse, Start, Stop

EVERY_ACTION: list[Action] = [
    Assign("r1", "i1", cold_start=True),
    Refuse("r1", FCError(Refusal.SESSION_NOT_FOUND, id="s1")),
    Start("fn", "i1"),
    Stop("i1", "idle for 60 s"),
]


def carried_out(action: Action) -> str:
    """What a caller does with an action; mypy proves that the cases are complete."""
    match action:
        case Assign(invocation, instance, cold):
            return f"run {invocation} on {instance}, {'cold' if cold else 'warm'}"
        case Refuse(invocation, error):
            return f"answer {invocation} with {error.status}"
        case Start(function, instance):
            return f"start {instance} of {function}"
        case Stop(instance, reason):
            return f"stop {instance}: {reason}"


def test_caller_tells_actions_apart_by_their_type() -> None:
    """Each action names what it is about by position, so that a caller can match it."""
    assert [carried_out(action) for action in EVERY_ACTION] == [
        "run r1 on i1, cold",
        "answer r1 with 401",
        "start i1 of fn",
        "stop i1: idle for 60 s",
    ]


def test_actions_are_compared_by_value() -> None:
    """Two actions that ask for the same are equal; another instance makes another action."""
    assert Assign("r1", "i1", cold_start=False) == Assign("r1", "i1", cold_start=False)
    assert Assign("r1", "i1", cold_start=False) != Assign("r1", "i2", cold_start=False)
    assert Start("fn", "i1") == Start("fn", "i1")


def test_actions_that_are_rare_are_frozen() -> None:
    """Rare actions are frozen."""
    action: Stop = Stop("i1", "replaced")
    with pytest.raises(FrozenInstanceError):
        action.reason = "other"  # type: ignore[misc]
