"""The action `coldStartDelay`."""

from __future__ import annotations

from unittest.mock import Mock, call

from fcemu.faults.actions.action import Start
from fcemu.faults.actions.cold_start_delay import ColdStartDelay


def test_cold_start_delay() -> None:
    """The start takes as many seconds longer as the rule says."""
    target = Mock(spec_set=Start)
    ColdStartDelay(coldStartDelay=3).apply(target)
    assert target.mock_calls == [call.delay(3.0)]


def test_failures() -> None:
    """The matrix has a scenario of it."""
    assert [each.name for each in ColdStartDelay.failures(1.0)] == ["cold-start"]
