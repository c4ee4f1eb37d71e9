"""How do a client's requests get from its transport to the gateway? One after the other, no faster than they are used.

A `Connection` keeps the transport, the queue of requests, the pauses in reading, and the time in which a client may
still send after its last answer. What the bytes mean is decided in `request_reader.py`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

from fcemu.gateway.flow import FlowControl, Outbox
from fcemu.gateway.memory import Memory
from fcemu.gateway.request_body import BUFFER_LIMIT, NO_BODY, RequestBody
from fcemu.gateway.request_reader import IDLE, UPGRADE, RequestReader
from fcemu.trigger.request import RequestHead

_QUEUE_LIMIT = 16
"""Requests that may wait for the one in progress; with more, reading pauses."""

_LINGER = 10.0
"""Seconds in which a client may still send after its last answer. A reset at once could take the answer from it."""


class Request:
    """A request that arrived on a connection.

    Attributes:
        keep_alive: the client lets the connection carry another request.
        raw: all its bytes, if the server's memory knew the request by them.
    """

    __slots__ = ("body", "connection", "head", "keep_alive", "raw")

    def __init__(
        self,
        connection: Connection,
        head: RequestHead,
        body: RequestBody,
        keep_alive: bool,
        raw: bytes | None = None,
    ) -> None:
        self.connection = connection
        self.head = head
        self.body = body
        self.keep_alive = keep_alive
        self.raw = raw


class Server(Protocol):
    """Answers the requests of connections.

    Attributes:
        connections: those in their HTTP phase.
        memory: keeps requests without a body that were read before.
        outbox: where small answers wait for the end of the round.
    """

    memory: Memory
    outbox: Outbox

    @property
    def connections(self) -> set[Connection]: ...

    def handle(self, request: Request) -> Awaitable[bool]:
        """Answer a request; returns whether the connection can carry another one."""
        ...

    def refuse_unparsed(self, why: str) -> bytes:
        """The answer to bytes that are not a request."""
        ...


class Connection(FlowControl):
    """A client's connection in its HTTP phase. It is the owner of its reader.

    Attributes:
        on_lost: called when the client has left.
        task: answers its requests.
        transport: None once the client has left, or once a tunnel has taken it over.
    """

    __slots__ = (
        "_body", "_lingers", "_paused", "_queue", "_reader", "_server", "_wanted", "on_lost", "task", "transport",
    )  # fmt: skip

    def __init__(self, server: Server) -> None:
        super().__init__(server.outbox)
        self._server = server
        self._reader = RequestReader(self)
        self.transport: asyncio.Transport | None = None
        self.on_lost: Callable[[], None] | None = None
        self._queue: deque[Request | str] = deque()  # a text: why the bytes are not a request
        self._wanted: asyncio.Future[None] | None = None
        self._body: RequestBody | None = None
        self._paused = False
        self._lingers: asyncio.TimerHandle | None = None

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._server.connections.add(self)
        self.task = self.loop.create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        begins = reader.phase is IDLE
        head = self._server.memory.request(data) if begins else None
        if head is not None:
            self._add(Request(self, head, NO_BODY, keep_alive=True, raw=data))  # as the reader would
        else:
            waiting = len(self._queue)
            reader.feed(data)
            if begins and reader.phase is IDLE and len(self._queue) == waiting + 1:
                self._remember(data, self._queue[-1])
        if reader.held or self._body is not None or len(self._queue) > _QUEUE_LIMIT:
            self.pause_or_resume()

    def eof_received(self) -> None:
        """A client that sends no more has left; the transport closes itself."""

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._server.connections.discard(self)
        self._reader.close()
        if self._lingers is not None:
            self._lingers.cancel()
        if self._body is not None:
            self._body.break_off("the client left in the middle of it")
        self.resume_writing()
        if self.on_lost is not None:
            self.on_lost()
        else:
            self._wake()

    # ---- what the reader finds

    def on_head(self, head: RequestHead, keep_alive: bool) -> None:
        """Queue a request: it can be answered whether or not its body has arrived."""
        body = NO_BODY
        if head.has_body:
            body = self._body = RequestBody(self.pause_or_resume)
        self._add(Request(self, head, body, keep_alive))

    def on_body(self, part: bytes) -> None:
        """Hand on a part of a body."""
        if self._body is not None:
            self._body.feed(part)

    def on_end(self) -> None:
        """End the body of a request that has one."""
        if self._body is not None:
            self._body.end()
            self._body = None

    def on_error(self, why: str) -> None:
        """Break off a body, or queue a refusal."""
        if self._body is not None:
            self._body.break_off(why)
            self._body = None
        else:
            self._add(why)

    # ---- for an exchange

    def detach(self) -> bytes:
        """Hand the transport over to a tunnel; returns the bytes that arrived after the handshake."""
        assert self.transport is not None
        self.outbox.flush()  # answers to earlier requests
        if self._paused:
            self.transport.resume_reading()
        self.transport = None
        self._server.connections.discard(self)
        return self._reader.close()

    def write(self, data: bytes) -> None:
        """Send bytes to the client, at the end of this round.

        Raises:
            ConnectionError: the client has left.
        """
        if (transport := self.transport) is None or transport.is_closing():
            raise ConnectionResetError("the client left")
        self.outbox.write(transport, data)

    def close(self) -> None:
        """Close the connection once everything written has been sent."""
        self.outbox.flush()
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Drop the connection; the client gets only what was already written."""
        self.outbox.flush()
        if self.transport is not None:
            self.transport.abort()

    # ---- inside

    async def _serve(self) -> None:
        """Answer one request after the other."""
        try:
            while True:
                while not self._queue:
                    if self.transport is None:
                        return
                    self._wanted = self.loop.create_future()
                    await self._wanted
                    self._wanted = None
                request = self._queue.popleft()
                if isinstance(request, str):
                    if self.transport is not None:
                        self.outbox.write(self.transport, self._server.refuse_unparsed(request))
                    self._end(unread=True)
                    return
                keep = await self._server.handle(request)
                if self.transport is None:
                    return
                if not keep or self.transport.is_closing():
                    self._end(unread=self._body is not None)
                    return
                if request.body is not NO_BODY:
                    request.body.ignore()
                if self._reader.phase is UPGRADE and not self._queue:
                    self._reader.decline_upgrade()
                    self.pause_or_resume()
                if self._paused:
                    self.pause_or_resume()
        except BaseException:
            self.abort()
            raise
        finally:
            self._wanted = None

    def _end(self, unread: bool) -> None:
        """Answer no more. A client that is still sending may finish, or a reset could take the answer from it."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        self.outbox.flush()
        if not unread:
            transport.close()
            return
        self._reader.close()
        self._body = None
        if transport.can_write_eof():
            transport.write_eof()
        self._lingers = self.loop.call_later(_LINGER, transport.close)
        self.pause_or_resume()

    def _remember(self, data: bytes, request: Request | str) -> None:
        """Cache a request by its bytes, which are this request and nothing else, if it has no body."""
        if isinstance(request, Request) and request.body is NO_BODY:
            self._server.memory.keep(data, request.head)

    def _add(self, request: Request | str) -> None:
        self._queue.append(request)
        self._wake()

    def _wake(self) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    def pause_or_resume(self) -> None:
        """Read no more than is used. What a lingering client sends is read and dropped."""
        if self.transport is None:
            return
        full = (
            len(self._reader.held) > BUFFER_LIMIT
            or len(self._queue) > _QUEUE_LIMIT
            or (self._body is not None and self._body.is_full)
        ) and self._lingers is None
        if full is not self._paused:
            self._paused = full
            if full:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()
