"""The action `delay`."""

from __future__ import annotations

from unittest.mock import Mock, call

import pytest

from fcemu.faults.actions.action import Connection
from fcemu.faults.actions.delay import Delay


@pytest.mark.parametrize(("jitter", "varies"), [(None, 0.0), (0.1, 0.1)])
def test_delay(jitter: float | None, varies: float) -> None:
    """Everything is later by the delay, give or take the jitter."""
    target = Mock(spec_set=Connection)
    Delay(delay=0.2, jitter=jitter).apply(target)
    assert target.mock_calls == [call.delay(0.2, varies)]


def test_failures() -> None:
    """The matrix has a scenario of it, in which the bandwidth is low, too."""
    (slow,) = Delay.failures(1.0)
    assert slow.name == "slow-line"
    assert [set(keys) for keys in slow.rules] == [{"delay", "jitter"}, {"bandwidth"}]
