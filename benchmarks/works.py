"""What is there to do? Each work: a load, and which fronts it says something about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LARGE = 10 * 1024 * 1024
"""Bytes of a large body."""

FEW = 500
"""Idle sockets that are held when memory is looked at first; what a front needs once is there by then."""


@dataclass(frozen=True)
class Work:
    """A load.

    Attributes:
        kind: what the client does; `up` and `down` send and fetch large bodies, `paths` gets each path once.
        connections: how many the client has at once.
        size: bytes of a message.
        guard: which of fcemu's functions is asked besides the anonymous one, and compared with it; None for a work of
            all fronts.
    """

    name: str
    title: str
    kind: Literal["echo", "handshake", "idle", "get", "paths", "down", "up"]
    connections: int
    size: int = 64
    guard: Literal["signed", "jwt"] | None = None


WORKS = {
    work.name: work
    for work in (
        Work("echo-1", "WebSocket ping-pong, 1 socket, 64 B", "echo", 1),
        Work("echo-100", "WebSocket ping-pong, 100 sockets, 64 B", "echo", 100),
        Work("echo-64k", "WebSocket ping-pong, 1 socket, 64 KB", "echo", 1, 64 * 1024),
        Work("echo-1m", "WebSocket ping-pong, 1 socket, 1 MB", "echo", 1, 1024 * 1024),
        Work("handshake", "WebSocket handshake, one echo and close, 16 at a time", "handshake", 16),
        Work("get-1", "HTTP GET, 200-byte answer, 1 keep-alive connection", "get", 1),
        Work("get-64", "HTTP GET, 200-byte answer, 64 keep-alive connections", "get", 64),
        Work("paths-64", "HTTP GET, each of another path, 200-byte answer, 64 keep-alive connections", "paths", 64),
        Work("down-10m", "HTTP GET, 10 MiB answer, 4 keep-alive connections", "down", 4),
        Work("up-10m", "HTTP POST of 10 MiB, 4 keep-alive connections", "up", 4),
        Work("signed-64", "HTTP GET, signed (acs3), 64 keep-alive connections", "get", 64, guard="signed"),
        Work("jwt-64", "HTTP GET with a JWT (ES256), 64 keep-alive connections", "get", 64, guard="jwt"),
        Work("idle", "WebSockets held idle, while 100 others ping-pong", "idle", 9500),
    )
}
