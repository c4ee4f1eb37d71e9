"""A request, as a value, that is sent byte for byte."""

from __future__ import annotations

from dataclasses import dataclass

UPGRADE = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Key", "ZmNlbXUgc21va2UgdGVzdA=="),
    ("Sec-WebSocket-Version", "13"),
)
"""The headers of a WebSocket handshake."""


@dataclass(frozen=True)
class Request:
    """A request. `target` is its path and query; headers and body are sent as they are."""

    method: str
    host: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
