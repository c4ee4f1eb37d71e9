"""Which requests are in a client's bytes? Bytes go in; heads, parts of bodies, ends and errors come out. No I/O.

The parser is llhttp (by httptools), without any of its leniencies. This module adds what llhttp leaves open: exactly
one Host, a limit for heads and trailers, and bytes after an upgrade are read as HTTP only once it was declined.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Protocol

import httptools

from fcemu.trigger.limits import wrong_hosts
from fcemu.trigger.request import VERSIONS, RequestHead

# The theory
# ==========
#
# A connection carries one request after the other (RFC 9112 9.3). Where one ends, the next begins: a proxy that is
# wrong about that place lets a client smuggle a request past it (RFC 9112 11.2). So the place is not spread over flags.
# It is one value, the phase, and every change of it is a row of TRANSITIONS below. An event without a row in a phase
# cannot happen there.
#
# The usual way round is IDLE, HEAD, BODY, IDLE. A request is in BODY from the end of its head to its own end, which
# come together if it has no body. llhttp finds both, and knows whether the connection carries another request: HTTP/1.1
# does unless `Connection: close`, HTTP/1.0 only with `Connection: keep-alive` (RFC 9112 9.3). If it does not, the phase
# is LAST: any byte is an error, except for line ends (RFC 9112 9.6). Line ends before a request line are skipped (2.2).
#
# Trailers are dropped, as RFC 9112 7.1.2 allows: a header that arrives in BODY is one.
#
# Errors. llhttp refuses, among others, a folded header line (RFC 9112 5.2), a bare CR or LF (2.2), white space before a
# colon (5.1), two lengths, and a length beside a transfer coding (6.3). This module refuses a version other than 1.0
# and 1.1, and a head without exactly one Host (3.2), when the head is complete. It also limits silence: llhttp reads a
# head or trailers of any size, so at most SILENT_LIMIT bytes may arrive without a complete head or a part of a body.
# After an error it is unknown where the next request begins, so the phase is CLOSED and nothing more is read.
#
# Upgrades. After a head with `Connection: upgrade` and `Upgrade`, or with CONNECT, llhttp stops: it takes the next
# bytes for another protocol's. The answer decides whether they are, and it is not known yet.
#
# - Without a body the phase is UPGRADE. Bytes are held and not read. If the upgrade is declined, they are HTTP after
#   all, and a new parser reads them (IDLE). If it is accepted, the owner closes the reader and gets them.
# - With a body the body comes first (RFC 9110 7.8), but llhttp would not read it. The phase is FRAMING, within one
#   call: a new parser gets a head of our own, which says only how the body is framed and whether another request may
#   follow. Then the phase is BODY, as for any request. The gateway never accepts such an upgrade.
#
# The gateway accepts upgrades to WebSocket only. A client that offers another protocol may send anything after it, so
# such a request is the last of its connection.


class Phase(StrEnum):
    """Where in the requests of its connection a reader is."""

    IDLE = "idle"
    """The next byte begins a request."""

    HEAD = "head"
    """A request has begun; its head is not complete."""

    BODY = "body"
    """A head is complete; its body and trailers, if any, are not."""

    FRAMING = "framing"
    """An upgrade's head is complete, and a body follows it: the parser is being replaced by one that reads it."""

    UPGRADE = "upgrade"
    """An upgrade's head is complete, and its answer decides what the bytes after it are."""

    LAST = "last"
    """The last request of the connection is complete."""

    CLOSED = "closed"
    """Nothing more is read."""


class Event(StrEnum):
    """What changes the phase of a reader."""

    BEGINS = "request begins"
    HEAD_ENDS = "head ends"
    UPGRADE_ENDS = "upgrade's head ends"
    UPGRADE_WITH_BODY_ENDS = "upgrade's head ends, body follows"
    FRAMED = "body is framed"
    ENDS = "request ends"
    LAST_ENDS = "last request ends"
    DECLINED = "upgrade is declined"
    ERROR = "error"
    CLOSE = "owner closes"


IDLE, HEAD, BODY, FRAMING, UPGRADE, LAST, CLOSED = Phase

TRANSITIONS: dict[Phase, dict[Event, Phase]] = {
    IDLE: {
        Event.BEGINS: HEAD,
        Event.ERROR: CLOSED,
        Event.CLOSE: CLOSED,
    },
    HEAD: {
        Event.HEAD_ENDS: BODY,
        Event.UPGRADE_ENDS: UPGRADE,
        Event.UPGRADE_WITH_BODY_ENDS: FRAMING,
        Event.ERROR: CLOSED,
        Event.CLOSE: CLOSED,
    },
    BODY: {
        Event.ENDS: IDLE,
        Event.LAST_ENDS: LAST,
        Event.ERROR: CLOSED,
        Event.CLOSE: CLOSED,
    },
    FRAMING: {
        Event.FRAMED: BODY,
    },
    UPGRADE: {
        Event.DECLINED: IDLE,
        Event.CLOSE: CLOSED,
    },
    LAST: {
        Event.ERROR: CLOSED,
        Event.CLOSE: CLOSED,
    },
    CLOSED: {},
}

SILENT_LIMIT = 64 * 1024
"""Bytes that may arrive without a complete head or a part of a body; the trigger's own limits are smaller."""

_ABSOLUTE = re.compile("(?i:https?)://([^/?#]*)(.*)", re.DOTALL)


class _Invalid(Exception):
    """A head that llhttp accepts and this module does not."""


class Owner(Protocol):
    """Gets what a reader finds, in the order of the bytes."""

    def on_head(self, head: RequestHead, keep_alive: bool) -> None:
        """A request's head is complete.

        Args:
            head: its target in origin form where it was absolute; `head.has_body` says whether a body follows.
            keep_alive: the client lets the connection carry another request.
        """
        ...

    def on_body(self, part: bytes) -> None:
        """A part of its body has arrived; the framing is taken off."""
        ...

    def on_end(self) -> None:
        """The request is complete. One with an upgrade and without a body has no end of its own."""
        ...

    def on_error(self, why: str) -> None:
        """The bytes are not HTTP: of the body if one has begun, else of the next request. Nothing else is reported."""
        ...


class RequestReader:
    """Reads the requests of one connection.

    Args:
        owner: gets what is found; it may not call the reader meanwhile.

    Attributes:
        phase: where the reader is.
        held: bytes after an upgrade that is neither declined nor accepted.
    """

    __slots__ = ("_framing", "_headers", "_owner", "_parser", "_silent", "_url", "held", "phase")

    def __init__(self, owner: Owner) -> None:
        self.phase = IDLE
        self.held = b""
        self._owner = owner
        self._silent = 0
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._framing = b""
        self._parser = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> None:
        """Read on; the owner hears what is found before this returns."""
        rest = data
        while rest and self.phase is not CLOSED:
            if self.phase is UPGRADE:
                self.held += rest
                return
            rest = self._read(rest)

    def decline_upgrade(self) -> None:
        """Read what was held, and all that comes, as HTTP. Only in UPGRADE."""
        self.phase = TRANSITIONS[self.phase][Event.DECLINED]
        self._parser = httptools.HttpRequestParser(self)
        held, self.held = self.held, b""
        self.feed(held)

    def close(self) -> bytes:
        """Read no more, in whatever phase; returns what was held, which is the other protocol's now."""
        if self.phase is not CLOSED:
            self._stop(Event.CLOSE)
        held, self.held = self.held, b""
        return held

    # ---- inside

    def _read(self, data: bytes) -> bytes:
        """Let the parser read; returns the bytes that it leaves because it has met an upgrade."""
        self._silent += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self.phase is FRAMING:
                self._parser = httptools.HttpRequestParser(self)
                self._parser.feed_data(self._framing)
            return data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._fail(str(cause) if isinstance(cause, _Invalid) else str(error))
        else:
            if self._silent > SILENT_LIMIT:
                self._fail(f"headers or trailers are larger than {SILENT_LIMIT} bytes")
        return b""

    def _fail(self, why: str) -> None:
        owner = self._owner
        self._stop(Event.ERROR)
        owner.on_error(why)

    def _stop(self, event: Event) -> None:
        self.phase = TRANSITIONS[self.phase][event]
        del self._parser, self._owner  # both refer to this reader: cycles, which only a collection would free

    # ---- httptools' callbacks

    def on_message_begin(self) -> None:
        """llhttp has met the first byte of a request."""
        if self.phase is not FRAMING:
            self.phase = TRANSITIONS[self.phase][Event.BEGINS]
            self._url = b""
            self._headers = []

    def on_url(self, part: bytes) -> None:
        self._url += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.phase is HEAD:
            # llhttp strips the white space before a value but not the white space after it (RFC 9112 5.1).
            self._headers.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """llhttp has met the empty line after a head."""
        self._silent = 0
        if self.phase is FRAMING:
            self.phase = TRANSITIONS[self.phase][Event.FRAMED]
            return
        parser = self._parser
        version = VERSIONS.get(parser.get_http_version())
        if version is None:
            raise _Invalid(f"HTTP/{parser.get_http_version()} is not supported")
        method, target = parser.get_method().decode(), self._url.decode("utf-8", "surrogateescape")
        head = RequestHead(method, target, tuple(self._headers), version)
        if (why := wrong_hosts(head)) is not None:
            raise _Invalid(why)
        if not target.startswith("/"):
            head = _in_origin_form(head)
        event, keep_alive = Event.HEAD_ENDS, parser.should_keep_alive()
        if parser.should_upgrade():
            keep_alive = keep_alive and _is_to_websocket(head)
            event = Event.UPGRADE_ENDS
            if head.has_body:
                event = Event.UPGRADE_WITH_BODY_ENDS
                self._framing = _framing(head, keep_alive)
        self.phase = TRANSITIONS[self.phase][event]
        self._owner.on_head(head, keep_alive)

    def on_body(self, part: bytes) -> None:
        """llhttp has read a part of a body."""
        self._silent = 0
        self._owner.on_body(part)

    def on_message_complete(self) -> None:
        """llhttp has met the end of a request, or an upgrade's head, which to llhttp is the same."""
        if self.phase is BODY:
            event = Event.ENDS if self._parser.should_keep_alive() else Event.LAST_ENDS
            self.phase = TRANSITIONS[self.phase][event]
            self._owner.on_end()


def _framing(head: RequestHead, keep_alive: bool) -> bytes:
    """A head of our own, after which llhttp reads a body as it is framed by another head."""
    framing = b"Transfer-Encoding: chunked" if head.is_chunked else b"Content-Length: %d" % (head.content_length or 0)
    return b"POST / HTTP/1.1\r\n%b%b\r\n\r\n" % (framing, b"" if keep_alive else b"\r\nConnection: close")


def _in_origin_form(head: RequestHead) -> RequestHead:
    """Read an absolute target as its path and host (RFC 9112 3.2.2). Any other is refused later, by the trigger."""
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
