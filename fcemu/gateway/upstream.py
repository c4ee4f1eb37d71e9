"""How does one connection to an instance read and write, and can it be used again?"""

from __future__ import annotations

import asyncio
from typing import cast

from fcemu.gateway.flow import FlowControl, Outbox
from fcemu.gateway.response import bad_response
from fcemu.instances.running import RunningInstance

_HEAD_LIMIT = 64 * 1024
"""Bytes of the longest response head."""

_BUFFER_LIMIT = 64 * 1024
"""Bytes that may wait to be read; with more, reading pauses."""


class UpstreamLost(ConnectionError):
    """The connection to the instance broke, or could not be made."""


class Upstream(FlowControl):
    """A connection that carries one exchange after another, with flow control in both directions."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__(outbox)
        self.transport: asyncio.Transport
        self.answered = False
        """A byte of an answer has arrived since the last request."""
        self._buffer = b""
        self._ended = False
        self._paused = False
        self._readable: asyncio.Future[None] | None = None

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.answered = True
        self._buffer = self._buffer + data if self._buffer else data
        if len(self._buffer) > _BUFFER_LIMIT and not self._paused:
            self._paused = True
            self.transport.pause_reading()
        self._wake_reader()

    def eof_received(self) -> None:
        self._ended = True
        self._wake_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._wake_reader()
        self.resume_writing()

    # ---- for an exchange

    @property
    def usable(self) -> bool:
        """Whether it can carry another exchange: nothing has arrived, and neither side has ended it."""
        return not (self._buffer or self._ended or self._paused or self.transport.is_closing())

    def write(self, data: bytes) -> None:
        """Write bytes to the instance at the end of this round of the event loop.

        Raises:
            UpstreamLost: the connection is closed.
        """
        if self._ended and self.transport.is_closing():
            raise UpstreamLost("the instance closed the connection")
        self.outbox.write(self.transport, data)

    async def head(self) -> bytes:
        """The next response head, blank line included; an interim one (1xx) counts.

        Raises:
            UpstreamLost: the connection ended before it.
            FCError: BAD_RESPONSE if it is too long, or its lines do not end in CR LF.
        """
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if self._buffer and (b"\n\n" in self._buffer or len(self._buffer) > _HEAD_LIMIT):
                raise bad_response("the function's response has no end of its headers (lines end in CR LF)")
            if self._ended:
                raise UpstreamLost("the instance closed the connection before it answered")
            await self._more()
        head, self._buffer = self._buffer[: end + 4], self._buffer[end + 4 :]
        return head

    async def read(self) -> bytes:
        """The next bytes; empty at the end of the connection."""
        while not self._buffer and not self._ended:
            await self._more()
        return self.read_now()

    def read_now(self) -> bytes:
        """The bytes that have arrived, which may be none, without waiting."""
        data, self._buffer = self._buffer, b""
        return data

    def take(self) -> bytes:
        """Pause reading, and return the bytes that have arrived after the head."""
        if not self._paused:
            self._paused = True
            self.transport.pause_reading()
        return self.read_now()

    def abort(self) -> None:
        """Cut the connection."""
        self.transport.abort()

    def _more(self) -> asyncio.Future[None]:
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        self._readable = self.loop.create_future()
        return self._readable

    def _wake_reader(self) -> None:
        if self._readable is not None and not self._readable.done():
            self._readable.set_result(None)


def idle(instance: RunningInstance) -> Upstream | None:
    """An open connection to the instance from an earlier exchange; None if there is none."""
    while instance.idle_connections:
        upstream = instance.idle_connections.pop()
        assert isinstance(upstream, Upstream)
        if upstream.usable:
            upstream.answered = False
            return upstream
        upstream.abort()
    return None


async def connect(instance: RunningInstance, outbox: Outbox) -> Upstream:
    """A new connection to the instance.

    Raises:
        UpstreamLost: the instance does not accept it.
    """
    try:
        _, upstream = await outbox.loop.create_connection(lambda: Upstream(outbox), instance.host, instance.port)
    except OSError as error:
        raise UpstreamLost(str(error)) from error
    return upstream


def give_back(instance: RunningInstance, upstream: Upstream) -> None:
    """Keep a connection for the next exchange if it can be used again, or else cut it."""
    if upstream.usable:
        instance.idle_connections.append(upstream)
    else:
        upstream.abort()
