"""The action `bandwidth`."""

from __future__ import annotations

from unittest.mock import Mock, call

from fcemu.faults.actions.action import Connection
from fcemu.faults.actions.bandwidth import Bandwidth


def test_bandwidth() -> None:
    """As many bytes per second pass as the rule says."""
    target = Mock(spec_set=Connection)
    Bandwidth(bandwidth=1000).apply(target)
    assert target.mock_calls == [call.limit(1000.0)]
