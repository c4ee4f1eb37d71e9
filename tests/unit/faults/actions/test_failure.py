"""The rules that make a documented failure."""

from __future__ import annotations

from fcemu.faults.actions.failure import Failure, first, first_connection
from fcemu.model import FaultRule


def test_first() -> None:
    """A rule happens to the first of what it matches, of both kinds unless one is named."""
    rule = FaultRule.model_validate(first("websocket", {"messages": 5}, cut=True))
    assert (rule.match.kind, rule.match.nth, rule.action.key) == ("websocket", "1", "cut")
    assert rule.after is not None
    assert rule.after.messages == 5
    assert FaultRule.model_validate(first(refuse=429)).match.kind is None


def test_first_connection() -> None:
    """The first WebSocket is hit after something, the first plain request at once."""
    websocket, http = (FaultRule.model_validate(keys) for keys in first_connection({"messages": 1}, cut=True))
    assert websocket.match.kind == "websocket"
    assert websocket.after is not None
    assert (http.match.kind, http.after) == ("http", None)


def test_failure() -> None:
    """A client that has not met a failure has sent no request, unless the failure says more."""
    assert Failure("n", "happens", "PAGE", "advice", rules=()).missed == "it sent no request"
