"""The rules under `fcemu.faults`: what a rule can say."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fcemu.faults.actions.delay import Delay
from fcemu.faults.actions.idle import Idle, IdleDrop
from fcemu.faults.actions.refuse import Refuse
from fcemu.model import FaultRule
from fcemu.model.fault import rule_with


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "exactly one of"),
        ({"cut": True, "stall": True}, "this one does cut and stall"),
        ({"cut": False}, "True"),
        ({"refuse": 418}, "400"),
        ({"refuse": 429, "after": {"seconds": 1}}, "happens at once"),
        ({"cut": True, "jitter": 1}, "varies a `delay`"),
        ({"close": 1006}, "write `cut: true`"),
        ({"close": 1011, "match": {"kind": "http"}}, "WebSockets only"),
        ({"coldStartDelay": 1, "match": {"path": "/"}}, "happens to an instance"),
        ({"cut": True, "match": {"nth": "0"}}, "pattern"),
        ({"cut": True, "match": {"probability": 2}}, "less than or equal to 1"),
    ],
)
def test_rule_that_cannot_be_is_refused(keys: dict[str, Any], said: str) -> None:
    """A rule does exactly one thing, which goes with the rest of it."""
    with pytest.raises(ValidationError, match=said):
        FaultRule.model_validate(keys)


@pytest.mark.parametrize(
    ("keys", "action"),
    [
        ({"refuse": 429}, Refuse(refuse=429)),
        ({"delay": 1, "jitter": 0.5}, Delay(delay=1.0, jitter=0.5)),
        ({"delay": 1}, Delay(delay=1.0)),
        ({"idle": {"after": 60}}, Idle(idle=IdleDrop(after=60))),
    ],
)
def test_action_has_its_numbers(keys: dict[str, Any], action: object) -> None:
    """A rule's action has the keys that belong to it."""
    assert FaultRule.model_validate(keys).action == action


def test_rules_have_the_keys_of_their_actions() -> None:
    """A model of rules knows the actions that it was made for, and describes them in its schema."""
    model = rule_with({Refuse.key: Refuse})
    assert model.model_validate({"refuse": 429}).action == Refuse(refuse=429)
    assert model.model_json_schema()["properties"]["refuse"]["description"] == Refuse.description()
    with pytest.raises(ValidationError, match="Extra inputs"):
        model.model_validate({"cut": True})
