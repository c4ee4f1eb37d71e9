"""The action `cut`."""

from __future__ import annotations

from unittest.mock import Mock, call

from fcemu.faults.actions.action import Connection
from fcemu.faults.actions.cut import Cut


def test_cut() -> None:
    """The connection breaks."""
    target = Mock(spec_set=Connection)
    Cut(cut=True).apply(target)
    assert target.mock_calls == [call.cut()]


def test_failures() -> None:
    """The matrix has scenarios of it."""
    assert [each.name for each in Cut.failures(1.0)] == ["cut-early", "cut-mid-frame", "cut-late"]
