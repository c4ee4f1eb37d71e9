"""The table of fault actions."""

from __future__ import annotations

import pytest

import fcemu.faults.actions as package
from fcemu.faults.actions.action import Action, ConnectionAction, RequestAction, SocketAction, StartAction
from fcemu.faults.actions.registry import ACTIONS
from fcemu.model import FaultRule


def test_every_file_is_registered() -> None:
    """Each action's file has one action, and the table has it."""
    kinds = (RequestAction, StartAction, ConnectionAction, SocketAction)
    found = {each for kind in kinds for each in kind.__subclasses__()}
    assert {each for each in found if each.__module__.startswith(package.__name__)} == {*ACTIONS.values()}
    assert len({each.__module__ for each in ACTIONS.values()}) == len(ACTIONS)


@pytest.mark.parametrize("action", ACTIONS.values(), ids=str)
def test_action_is_a_key_of_rules(action: type[Action]) -> None:
    """The table's key is the action's, a rule can have each of its keys, and it has a description."""
    assert ACTIONS[action.key] is action
    assert action.model_fields.keys() <= FaultRule.model_fields.keys()
    assert action.description()
