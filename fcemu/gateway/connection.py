"""What does a client's connection say? Requests, one after the other, each with its body.

The parser is llhttp (by httptools), strict as it comes: what two servers could read differently is a 400 that ends the
connection (RFC 9112 11.2). What llhttp leaves open is decided here and in `trigger/limits.py`: exactly one Host, a
limit for the head, and that bytes behind an upgrade are read as HTTP only once the upgrade was declined.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

import httptools

from fcemu.gateway.flow import FlowControl, Outbox
from fcemu.gateway.memory import Memory
from fcemu.gateway.request_body import BUFFER_LIMIT, NO_BODY, RequestBody
from fcemu.trigger.request import VERSIONS, RequestHead

_SILENT_LIMIT = 64 * 1024
"""Bytes that may come without the end of a head or a part of a body; the trigger's own limits are smaller."""

_QUEUE_LIMIT = 16
"""Requests that wait behind the present one; then reading pauses."""

_LINGER = 10.0
"""Seconds in which a client may go on sending what nobody wants, so that it gets to read the answer."""

_ABSOLUTE = re.compile("(?i:https?)://([^/?#]*)(.*)", re.DOTALL)


class _Invalid(Exception):
    """A head that llhttp takes and we do not."""


NO_BODY.end()


class Request:
    """A request that came on a connection.

    Attributes:
        keep_alive: the client lets the connection carry another request.
        raw: all its bytes, if the server's memory keeps the request.
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
    """Who answers.

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
        """Answer; returns whether the connection can carry another request."""
        ...

    def refuse_unparsed(self, why: str) -> bytes:
        """The answer to what is no request."""
        ...


class Connection(FlowControl):
    """A client's connection in its HTTP phase.

    Attributes:
        on_lost: called when the client has left.
        task: in which its requests are answered.
        transport: None once it has, or once the connection is a socket's.
    """

    __slots__ = (
        "_begins", "_behind", "_body", "_broken", "_closing", "_framed", "_headers", "_in_head", "_lingers", "_parser",
        "_paused", "_queue", "_server", "_silent", "_told", "_upgraded", "_url", "_wanted", "on_lost", "task",
        "transport",
    )  # fmt: skip

    def __init__(self, server: Server) -> None:
        super().__init__(server.outbox)
        self._server = server
        self.transport: asyncio.Transport | None = None
        self.on_lost: Callable[[], None] | None = None
        self._queue: deque[Request | str] = deque()  # a text: why what came is no request
        self._wanted: asyncio.Future[None] | None = None
        self._body: RequestBody | None = None
        self._behind = b""
        self._upgraded = self._broken = self._closing = self._paused = False
        self._told = self._in_head = False
        self._begins = True  # the next byte is a request's first
        self._silent = 0
        self._framed: bytes | None = None
        self._lingers: asyncio.TimerHandle | None = None
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._parser = httptools.HttpRequestParser(self)

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._server.connections.add(self)
        self.task = self.loop.create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        if self._upgraded:
            self._behind += data
        elif not (self._broken or self._closing):
            head = self._server.memory.request(data) if self._begins else None
            if head is not None:
                self._add(Request(self, head, NO_BODY, keep_alive=True, raw=data))  # what the parser would find
            else:
                self._parse(data)
        if self._behind or self._body is not None or len(self._queue) > _QUEUE_LIMIT:
            self.pause_or_resume()

    def eof_received(self) -> None:
        """The client that sends no more has left; the transport closes itself."""

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._server.connections.discard(self)
        del self._parser  # as in `detach`
        if self._lingers is not None:
            self._lingers.cancel()
        if self._body is not None:
            self._body.break_off("the client left in the middle of it")
        self.resume_writing()
        if self.on_lost is not None:
            self.on_lost()
        else:
            self._wake()

    # ---- httptools' callbacks

    def on_message_begin(self) -> None:
        """Another request begins."""
        self._url = b""
        self._headers = []
        self._in_head = True
        self._begins = False

    def on_url(self, part: bytes) -> None:
        self._url += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # trailers are dropped
            # llhttp strips the white space before a value, and not that behind it (RFC 9112 5.1).
            self._headers.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """A request's head is there: it can be answered, whether or not its body has come."""
        self._in_head = False
        self._told = True
        if self._framed is not None:
            return  # our own head, which only told the parser how a body is framed
        parser = self._parser
        version = VERSIONS.get(parser.get_http_version())
        if version is None:
            raise _Invalid(f"HTTP/{parser.get_http_version()} is not supported")
        method, target = parser.get_method().decode(), self._url.decode("utf-8", "surrogateescape")
        head = RequestHead(method, target, tuple(self._headers), version)
        hosts = len(head.values(b"host"))
        if hosts > 1 or (not hosts and version == (1, 1)):
            raise _Invalid("more than one Host header" if hosts else "no Host header")
        if not target.startswith("/"):
            head = _in_origin_form(head)
        # Behind an upgrade to something else there may be anything: it is the last request of its connection.
        keep_alive = parser.should_keep_alive() and (not parser.should_upgrade() or _is_to_websocket(head))
        body = NO_BODY
        if head.has_body:
            body = self._body = RequestBody(self.pause_or_resume)
            if parser.should_upgrade():
                # httptools reads no body behind such a head, and would take it for the other protocol's bytes.
                length = b"Content-Length: %d" % (head.content_length or 0)
                framing = b"Transfer-Encoding: chunked" if head.is_chunked else length
                self._framed = b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing
        self._add(Request(self, head, body, keep_alive))

    def on_body(self, part: bytes) -> None:
        """More of a body has come, its framing taken off."""
        self._told = True
        if self._body is not None:
            self._body.feed(part)

    def on_message_complete(self) -> None:
        """A request has ended; if the client lets the connection live, the next byte begins another."""
        if self._body is not None and self._framed is None:
            self._body.end()
            self._body = None
        self._begins = self._framed is None and self._parser.should_keep_alive()

    # ---- for an exchange

    def detach(self) -> bytes:
        """Leave the transport to a socket; returns the bytes that came behind its handshake."""
        assert self.transport is not None
        self.outbox.flush()  # answers to earlier requests
        if self._paused:
            self.transport.resume_reading()
        self.transport = None
        self._server.connections.discard(self)
        del self._parser  # it knows us: a cycle, which only a collection would free
        behind, self._behind = self._behind, b""
        return behind

    def write(self, data: bytes) -> None:
        """Send bytes to the client, at the end of this round.

        Raises:
            ConnectionError: it is gone.
        """
        if (transport := self.transport) is None or transport.is_closing():
            raise ConnectionResetError("the client left")
        self.outbox.write(transport, data)

    def close(self) -> None:
        """End it, as soon as what was written has gone."""
        self.outbox.flush()
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Drop it; what was written is all that the client gets."""
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
                if self._upgraded and not self._queue:
                    self._read_on()
                if self._paused:
                    self.pause_or_resume()
        except BaseException:
            self.abort()
            raise
        finally:
            self._wanted = None

    def _end(self, unread: bool) -> None:
        """Answer no more. A client that is still sending is let finish, or it would lose the answer to a reset."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        self.outbox.flush()
        if not unread:
            transport.close()
            return
        self._closing = True
        self._body = None
        if transport.can_write_eof():
            transport.write_eof()
        self._lingers = self.loop.call_later(_LINGER, transport.close)
        self.pause_or_resume()

    def _read_on(self) -> None:
        """The upgrade was declined: what came behind it is HTTP."""
        self._upgraded, self._begins = False, True
        self._parser = httptools.HttpRequestParser(self)
        behind, self._behind = self._behind, b""
        if behind:
            self._parse(behind)
            self.pause_or_resume()

    def _parse(self, data: bytes) -> None:
        while data:
            data = self._feed(data)

    def _feed(self, data: bytes) -> bytes:
        """Let the parser read on; returns what another one is to read."""
        alone, waiting = self._begins, len(self._queue)
        self._told = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            behind = data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._break(str(cause) if isinstance(cause, _Invalid) else str(error))
            return b""
        else:
            # A head that grows, or trailers, or what stands between chunks.
            self._silent = 0 if self._told else self._silent + len(data)
            if self._silent > _SILENT_LIMIT:
                self._break(f"headers or trailers are larger than {_SILENT_LIMIT} bytes")
            elif alone and self._begins and len(self._queue) == waiting + 1:
                self._remember(data, self._queue[-1])
            return b""
        if self._framed is None:
            self._upgraded, self._behind = True, behind
            return b""
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(self._framed)
        self._framed = None
        return behind

    def _remember(self, data: bytes, request: Request | str) -> None:
        """These bytes are this request, and no more."""
        if isinstance(request, Request) and request.body is NO_BODY and self._server.memory.keep(data, request.head):
            request.raw = data

    def _break(self, why: str) -> None:
        """Nothing more can be read."""
        self._broken = True
        if self._body is not None and not self._closing:
            self._body.break_off(why)
            self._body = None
        else:
            self._add(why)

    def _add(self, request: Request | str) -> None:
        self._queue.append(request)
        self._wake()

    def _wake(self) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    def pause_or_resume(self) -> None:
        """Read no more than is used."""
        if self.transport is None:
            return
        full = (
            len(self._behind) > BUFFER_LIMIT
            or len(self._queue) > _QUEUE_LIMIT
            or (self._body is not None and self._body.is_full)
        ) and not self._closing
        if full is not self._paused:
            self._paused = full
            if full:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()


def _in_origin_form(head: RequestHead) -> RequestHead:
    """An absolute target (RFC 9112 3.2.2) is read as its path and host; any other is the trigger's to refuse."""
    match = _ABSOLUTE.fullmatch(head.target)
    if match is None:
        return head
    host, rest = match.groups()
    others = (pair for pair, lower in zip(head.headers, head.names, strict=True) if lower != b"host")
    return RequestHead(
        head.method,
        rest if rest.startswith("/") else "/" + rest,
        ((b"Host", host.encode("utf-8", "surrogateescape")), *others),
        head.version,
    )


def _is_to_websocket(head: RequestHead) -> bool:
    return (head.first(b"upgrade") or b"").lower() == b"websocket"
