"""The action `idle`."""

from __future__ import annotations

from typing import Literal
from unittest.mock import Mock, call

import pytest

from fcemu.faults.actions.action import Socket
from fcemu.faults.actions.idle import Idle, IdleDrop


@pytest.mark.parametrize(
    ("mode", "does"), [("rst", call.reset()), ("fin", call.finish()), ("blackhole", call.forget())]
)
def test_idle(mode: Literal["rst", "fin", "blackhole"], does: object) -> None:
    """The connection is reset, closed or forgotten, as the NAT of the rule does it."""
    target = Mock(spec_set=Socket)
    Idle(idle=IdleDrop(after=60, mode=mode)).apply(target)
    assert target.mock_calls == [does]


def test_idle_waits_for_silence() -> None:
    """It happens after seconds without traffic, not by the rule's `after`; by default with a reset."""
    idle = Idle(idle=IdleDrop(after=60))
    assert (idle.idle_for, idle.idle.mode) == (60.0, "rst")


def test_failures() -> None:
    """The matrix has a scenario for each mode, with the time that was asked for."""
    found = Idle.failures(2.5)
    assert [each.name for each in found] == ["nat-rst", "nat-fin", "nat-blackhole"]
    assert all(keys["idle"]["after"] == 2.5 for each in found for keys in each.rules)
