"""How does a WebSocket pass through? As bytes, both ways, until one side ends it or the deadline does.

The order of the steps matters; each was a failing test:

1. the instance has answered 101 and its connection is paused;
2. the client's `Connection` lets go of the transport, and hands over the bytes that came with the handshake;
3. both transports get a `Pipe`, whose `data_received` writes to the other transport. uvloop looks the method up when
   the protocol is set, so the peer must be known before;
4. only now anything is written: the 101, what the instance sent behind it, what the client sent behind its handshake.
   A transport says once that it is full, and must say so to its pipe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fcemu.clock import Clock, Timer
from fcemu.gateway import frames, headers
from fcemu.gateway.exchange import Exchange
from fcemu.gateway.response import ResponseHead
from fcemu.gateway.upstream import Upstream
from fcemu.journal import ClosedBy

_LINGER = 10.0
"""Seconds an instance has to read the rest after its client left ("1-10 s later": semantics 8)."""


_LONGEST = frames.LONGEST_CLOSE
_SMALL = _LONGEST // 2 + 1
"""Bytes. Two pieces that are no smaller hold any Close frame."""


class Pipe(asyncio.Protocol):
    """One side of a tunnel: what its transport receives goes to the other's."""

    __slots__ = ("_before", "_last", "ended", "lost", "peer", "transport", "tunnel", "write")

    def __init__(self, tunnel: Tunnel, transport: asyncio.Transport, write: Callable[[bytes], None]) -> None:
        self.tunnel = tunnel
        self.transport = transport
        self.write = write
        self._before = self._last = b""
        self.ended = False
        self.lost = False
        self.peer: Pipe

    def data_received(self, data: bytes) -> None:
        # The hottest lines of fcemu: first the data goes on. Then what may be the end of a Close frame is kept for the
        # log; nothing is parsed. Small pieces are joined, of large ones two are enough to hold a whole frame.
        self.write(data)
        self.tunnel.latest = self
        if len(data) > _LONGEST:
            self._last = data[-_LONGEST:]
        elif len(data) < _SMALL:
            self._last = (self._before + self._last + data)[-_LONGEST:]
            self._before = b""
        else:
            self._before = self._last
            self._last = data

    @property
    def last(self) -> bytes:
        """The last bytes that it received, as many as a Close frame can have."""
        return (self._before + self._last)[-_LONGEST:]

    def pause_writing(self) -> None:
        self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if not self.peer.lost:
            self.peer.transport.resume_reading()

    def eof_received(self) -> bool:
        self.ended = True
        self.tunnel.side_gone(self)
        if self.peer.ended or self.peer.lost or not self.peer.transport.can_write_eof():
            self.peer.transport.close()
            return False
        self.peer.transport.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.tunnel.side_gone(self)
        if not self.peer.lost:
            if exc is not None:
                self.peer.transport.abort()
            else:
                self.peer.transport.close()
        self.tunnel.side_lost(self)


class Tunnel:
    """An established WebSocket.

    Args:
        on_end: called once, when both connections are gone.

    Attributes:
        stopped_by: what cut or closed it from outside, if anything did.
        close_code: the code that the client then got.
    """

    __slots__ = (
        "_clock", "_linger", "_on_end", "client", "close_code", "first_gone", "function", "latest", "stopped_by",
    )  # fmt: skip

    def __init__(
        self,
        client: asyncio.Transport,
        function: asyncio.Transport,
        clock: Clock,
        on_end: Callable[[int, ClosedBy], None],
    ) -> None:
        self._clock = clock
        self._on_end = on_end
        self._linger: Timer | None = None
        self.client = self._pipe(client, function.write)
        self.function = self._pipe(function, client.write)
        self.client.peer, self.function.peer = self.function, self.client
        self.latest: Pipe | None = None
        self.first_gone: Pipe | None = None
        self.stopped_by: ClosedBy | None = None
        self.close_code = frames.ABNORMAL

    def begin(self) -> None:
        """The client has its 101; nothing else has passed yet."""

    def abort(self, by: ClosedBy) -> None:
        """Cut both connections without a Close frame: the client's library reports 1006."""
        if self.stopped_by is None:
            self.stopped_by = by
        for pipe in (self.client, self.function):
            if not pipe.lost:
                pipe.transport.abort()

    def side_gone(self, pipe: Pipe) -> None:
        """One side sends no more; the first one counts."""
        if self.first_gone is None:
            self.first_gone = pipe

    def side_lost(self, pipe: Pipe) -> None:
        """One connection is gone; the tunnel ends with the second."""
        if not pipe.peer.lost:
            if pipe is self.client:
                self._linger = self._clock.call_at(self._clock.now() + _LINGER, self.function.transport.abort)
            return
        if self._linger is not None:
            self._linger.cancel()
        self._on_end(*self._ending())
        # They all know each other, and would be there until a collection.
        del self._on_end
        for pipe in (self.client, self.function):
            del pipe.peer, pipe.tunnel, pipe.write

    def _pipe(self, transport: asyncio.Transport, write: Callable[[bytes], None]) -> Pipe:
        return Pipe(self, transport, write)

    def _ending(self) -> tuple[int, ClosedBy]:
        """Close code and who closed. The side that sent Close first is the one that did not speak last."""
        if self.stopped_by is not None:
            return self.close_code, self.stopped_by
        by_client = frames.closing_code(self.client.last, masked=True)
        by_function = frames.closing_code(self.function.last, masked=False)
        if by_client is not None and (by_function is None or self.latest is self.function):
            return by_client, "client"
        if by_function is not None:
            return by_function, "function"
        return frames.ABNORMAL, "client" if self.first_gone is self.client else "function"


def splice(
    exchange: Exchange,
    upstream: Upstream,
    head: ResponseHead,
    join: Callable[[asyncio.Transport, asyncio.Transport], Tunnel],
) -> Tunnel:
    """Join the client's connection with the instance's; from here on bytes pass.

    Args:
        join: makes the tunnel between the client's transport and the instance's.

    Raises:
        ConnectionError: the client is gone.
    """
    connection = exchange.request.connection
    client = connection.transport
    if client is None or client.is_closing():
        upstream.abort()
        raise ConnectionResetError("the client left during the handshake")
    behind_head = upstream.take()
    function = upstream.transport
    tunnel = join(client, function)
    client_is_full = connection.writing_paused
    behind_handshake = connection.detach()
    client.set_protocol(tunnel.client)
    client.write(headers.switching_bytes(head, request_id=exchange.request_id))
    tunnel.begin()
    if function.is_closing():
        # It ended right behind its 101; its transport may have told so already, to nobody.
        if behind_head:
            tunnel.function.data_received(behind_head)
        tunnel.function.connection_lost(None)
        return tunnel
    function.set_protocol(tunnel.function)
    function.resume_reading()
    if client_is_full:  # with answers to earlier requests
        tunnel.client.pause_writing()
    if behind_head:
        tunnel.function.data_received(behind_head)
    if behind_handshake:
        tunnel.client.data_received(behind_handshake)
    return tunnel
