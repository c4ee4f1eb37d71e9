"""An instance that accepts requests."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import Mock

import pytest

from fcemu.instances import running
from fcemu.instances.running import RunningInstance


def instance() -> RunningInstance:
    """An instance without a real process."""
    process: Any = Mock(guard=1)
    function: Any = None
    return RunningInstance("c-1", function, process, "127.0.0.2", 9000)


def test_memory_is_measured_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many sockets that end together cost one measurement."""
    measured = iter([10.0, 20.0])
    monkeypatch.setattr(running, "memory_mb", lambda guard: next(measured))
    some = instance()
    assert [some.memory_mb(at) for at in (100.0, 100.5, 101.0, 101.5)] == [10.0, 10.0, 10.0, 20.0]


def test_unused_connections_are_closed() -> None:
    """All idle connections are aborted and forgotten."""
    some = instance()
    connections = [Mock(spec=asyncio.Transport), Mock(spec=asyncio.Transport)]
    some.idle_connections += connections
    some.drop_connections()
    assert some.idle_connections == []
    for connection in connections:
        connection.abort.assert_called_once_with()
