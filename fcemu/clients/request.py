"""What does a client send, exactly as it is?"""

from __future__ import annotations

from dataclasses import dataclass

UPGRADE = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Key", "ZmNlbXUgc21va2UgdGVzdA=="),
    ("Sec-WebSocket-Version", "13"),
)
"""Headers of a WebSocket handshake."""


@dataclass(frozen=True)
class Request:
    """A request without its credentials."""

    method: str
    host: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
