"""The action `refuseToStart`."""

from __future__ import annotations

from unittest.mock import Mock, call

from fcemu.faults.actions.action import Start
from fcemu.faults.actions.refuse_to_start import RefuseToStart


def test_refuse_to_start() -> None:
    """The server exits with an error."""
    target = Mock(spec_set=Start)
    RefuseToStart(refuseToStart=True).apply(target)
    assert target.mock_calls == [call.exit(1)]


def test_failures() -> None:
    """The matrix has a scenario of it."""
    assert [each.name for each in RefuseToStart.failures(1.0)] == ["start-fails"]
