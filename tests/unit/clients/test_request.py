"""A request as a value."""

from __future__ import annotations

from fcemu.clients.request import UPGRADE, Request


def test_request_without_more_is_bare() -> None:
    """A request has no headers and no body unless they are given."""
    assert Request("GET", "fn.localhost", "/").headers == ()
    assert Request("GET", "fn.localhost", "/").body == b""


def test_upgrade_is_a_complete_handshake() -> None:
    """The headers of a handshake are those that RFC 6455 4.1 demands, with a key of 16 bytes."""
    headers = dict(UPGRADE)
    assert headers["Connection"] == "Upgrade"
    assert headers["Upgrade"] == "websocket"
    assert headers["Sec-WebSocket-Version"] == "13"
    assert len(headers["Sec-WebSocket-Key"]) == 24
