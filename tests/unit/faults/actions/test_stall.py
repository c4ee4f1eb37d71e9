"""The action `stall`."""

from __future__ import annotations

from unittest.mock import Mock, call

from fcemu.faults.actions.action import Connection
from fcemu.faults.actions.stall import Stall


def test_stall() -> None:
    """The connection goes silent."""
    target = Mock(spec_set=Connection)
    Stall(stall=True).apply(target)
    assert target.mock_calls == [call.stall()]


def test_failures() -> None:
    """The matrix has a scenario of it."""
    assert [each.name for each in Stall.failures(1.0)] == ["half-open"]
