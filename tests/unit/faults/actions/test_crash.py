"""The action `crash`."""

from __future__ import annotations

from unittest.mock import Mock, call

from fcemu.faults.actions.action import Connection
from fcemu.faults.actions.crash import Crash


def test_crash() -> None:
    """The instance is killed."""
    target = Mock(spec_set=Connection)
    Crash(crash=True).apply(target)
    assert target.mock_calls == [call.crash()]


def test_failures() -> None:
    """The matrix has a scenario of it."""
    assert [each.name for each in Crash.failures(1.0)] == ["crash"]
