"""What does an instance answer: its head, and where does its body end?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import httptools

from fcemu.errors import FCError, Refusal
from fcemu.trigger.request import VERSIONS, HeaderPairs, HeaderSection

_APK = b"application/vnd.android.package-archive"
# D/04/055: a function may not set these; FC ignores them without a word. Framing is the gateway's.
_RESERVED = frozenset(
    (
        b"connection", b"content-length", b"date", b"keep-alive", b"proxy-connection", b"server", b"te",
        b"transfer-encoding", b"upgrade",
    )
)  # fmt: skip


def is_reserved(name: bytes) -> bool:
    """Whether a header or trailer of a response, its name in lower case, is never a function's to set."""
    return name in _RESERVED or name.startswith(b"x-fc-")


@dataclass(slots=True)
class ResponseHead(HeaderSection):
    """A status line and its header pairs, as the function sent them. Nobody changes one.

    Attributes:
        chunked: its body comes in chunks; `parse_head` lets no other transfer coding in.
        content_length: the announced length of the body; None without one.
        connection_options: what `Connection` names, in lower case.
        keeps_alive: the instance leaves the connection open behind its answer (RFC 9112 9.3).
        is_apk: its body is an Android package.
        passed_on: what `headers.py` has made of it, to be found there the next time.
    """

    status: int
    reason: bytes
    headers: HeaderPairs
    version: tuple[int, int] = (1, 1)
    chunked: bool = field(init=False, repr=False, compare=False)
    content_length: int | None = field(init=False, repr=False, compare=False)
    connection_options: frozenset[bytes] = field(init=False, repr=False, compare=False)
    keeps_alive: bool = field(init=False, repr=False, compare=False)
    is_apk: bool = field(init=False, repr=False, compare=False)
    passed_on: dict[tuple[bool, bool, bool], bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._index()
        self.passed_on = {}
        first = self._first
        self.chunked = b"transfer-encoding" in first
        length = first.get(b"content-length")
        self.content_length = int(length) if length is not None and length.isdigit() else None
        options = self.connection_options = self.tokens(b"connection")
        self.keeps_alive = b"close" not in options and (self.version >= (1, 1) or b"keep-alive" in options)
        self.is_apk = any(value.lower().startswith(_APK) for value in self.values(b"content-type"))


class _HeadReader:
    def __init__(self) -> None:
        self.reason = b""
        self.headers: list[tuple[bytes, bytes]] = []

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))


@lru_cache(maxsize=128)
def parse_head(raw: bytes) -> ResponseHead:
    """Parse a head, blank line included. Within one second a function answers with few different ones.

    Raises:
        FCError: BAD_RESPONSE if it is no HTTP/1 response.
    """
    reader = _HeadReader()
    parser = httptools.HttpResponseParser(reader)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise bad_response(f"the function's response is not valid HTTP: {error}") from error
    version = VERSIONS.get(parser.get_http_version())
    if version is None:
        raise bad_response(f"the function answers in HTTP/{parser.get_http_version()}, not HTTP/1.1")
    head = ResponseHead(parser.get_status_code(), reader.reason, tuple(reader.headers), version)
    if head.chunked and [coding.lower() for coding in head.values(b"transfer-encoding")] != [b"chunked"]:
        # Where such a body ends is anybody's guess (RFC 9112 6.1).
        raise bad_response("the function's Transfer-Encoding is not `chunked`")
    return head


def bad_response(detail: str) -> FCError:
    """The 502 for a response that cannot be passed on (D/04/002)."""
    return FCError(Refusal.BAD_RESPONSE, detail=detail, remedy="look at what the function's server sends")


class Body:
    """Finds the end of a response's body and frames it for the client.

    `feed` takes what the instance sent and returns what the client gets: the same bytes where the length is known or
    the connection's end is the end, chunks of our own where the instance sent chunks, so that nothing that a broken
    server sends behind its body can reach the client as a second response.

    Args:
        head: the response's head.
        method: of the request; HEAD has no body.
        rechunk: the client takes chunks (HTTP/1.1).
        tap: sees the body as it passes, without its framing.

    Attributes:
        done: the body has ended.
        surplus: bytes came behind it; the connection cannot be used again.
        until_close: only the end of the connection ends it.
    """

    def __init__(
        self, head: ResponseHead, method: str, rechunk: bool, tap: Callable[[bytes], None] | None = None
    ) -> None:
        self._tap = tap
        self.surplus = False
        self.until_close = False
        self._left = 0
        self._parser: httptools.HttpResponseParser | None = None
        self._out: list[bytes] = []
        self._trailers: list[bytes] = []
        self.chunked_out = False
        empty = method == "HEAD" or head.status in (204, 304)
        if empty:
            self.done = True
        elif head.chunked:
            self.done = False
            self.chunked_out = rechunk
            self._parser = httptools.HttpResponseParser(self)
            self._parser.feed_data(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        elif head.content_length is not None:
            self._left = head.content_length
            self.done = self._left == 0
        else:
            self.done = False
            self.until_close = True
            self.chunked_out = rechunk

    def feed(self, data: bytes) -> bytes:
        """What the client gets for what the instance sent.

        Raises:
            FCError: BAD_RESPONSE for chunks that are none.
        """
        if self.done:
            self.surplus = self.surplus or bool(data)
            return b""
        if self._parser is not None:
            self._out.clear()
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserError as error:
                if not self.done:
                    raise bad_response(f"the function's chunked body is broken: {error}") from error
                self.surplus = True
            return b"".join(self._out)
        if self._tap is not None:
            self._tap(data if self.until_close else data[: self._left])
        if self.until_close:
            return b"%x\r\n%b\r\n" % (len(data), data) if self.chunked_out and data else data
        part = data[: self._left]
        self._left -= len(part)
        self.done = self._left == 0
        self.surplus = len(part) < len(data)
        return part

    def end(self) -> bytes | None:
        """The instance closed its connection: what ends the client's body, or None if the body is cut short."""
        if self.done:
            return b""
        if self.until_close:
            self.done = True
            return b"0\r\n\r\n" if self.chunked_out else b""
        return None

    # ---- httptools' callbacks

    def on_message_begin(self) -> None:
        if getattr(self, "done", False):
            self.surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if not is_reserved(name.lower()):
            self._trailers.append(b"%b: %b\r\n" % (name, value))

    def on_headers_complete(self) -> None:
        self._trailers.clear()  # those of the head that only told the parser that chunks follow

    def on_body(self, part: bytes) -> None:
        if not self.done:
            if self._tap is not None:
                self._tap(part)
            self._out.append(b"%x\r\n%b\r\n" % (len(part), part) if self.chunked_out else part)

    def on_message_complete(self) -> None:
        if not self.done:
            self.done = True
            if self.chunked_out:
                self._out.append(b"0\r\n%b\r\n" % b"".join(self._trailers))
