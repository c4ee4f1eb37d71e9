"""What is the head of an instance's response, and where does its body end?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import httptools

from fcemu.errors import FCError, Refusal
from fcemu.trigger.request import VERSIONS, HeaderPairs, HeaderSection

_APK = b"application/vnd.android.package-archive"
# D/04/055: a function may not set these; FC ignores them silently. The gateway decides the framing.
_RESERVED = frozenset(
    (
        b"connection", b"content-length", b"date", b"keep-alive", b"proxy-connection", b"server", b"te",
        b"transfer-encoding", b"upgrade",
    )
)  # fmt: skip


def is_reserved(name: bytes) -> bool:
    """Whether a function may not set a header or trailer of this name, given in lower case."""
    return name in _RESERVED or name.startswith(b"x-fc-")


def lines(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Header lines, each with its end."""
    return b"".join([b"%b: %b\r\n" % pair for pair in pairs])


@dataclass(slots=True)
class ResponseHead(HeaderSection):
    """A status line and its header pairs, as the function sent them. A head never changes.

    Attributes:
        chunked: the body comes in chunks; `parse_head` accepts no other transfer coding.
        content_length: the announced length of the body; None if there is none.
        connection_options: the elements of `Connection` in lower case.
        keeps_alive: the instance leaves the connection open after its answer (RFC 9112 9.3).
        is_apk: the body is an Android package.
        passed_on: the headers that the client may get: not reserved, and not named by `Connection`.
        passed_names: the names of these headers in lower case.
        passed_lines: these headers as lines.
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
    passed_on: HeaderPairs = field(init=False, repr=False, compare=False)
    passed_names: frozenset[bytes] = field(init=False, repr=False, compare=False)
    passed_lines: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._index()
        first = self._first
        self.chunked = b"transfer-encoding" in first
        length = first.get(b"content-length")
        self.content_length = int(length) if length is not None and length.isdigit() else None
        options = self.connection_options = self.tokens(b"connection")
        self.keeps_alive = b"close" not in options and (self.version >= (1, 1) or b"keep-alive" in options)
        self.is_apk = any(value.lower().startswith(_APK) for value in self.values(b"content-type"))
        passed = [
            (pair, lower)
            for pair, lower in zip(self.headers, self.names, strict=True)
            if not (lower in options or is_reserved(lower))
        ]
        self.passed_on = tuple(pair for pair, _ in passed)
        self.passed_names = frozenset(lower for _, lower in passed)
        self.passed_lines = lines(self.passed_on)


class _HeadReader:
    def __init__(self) -> None:
        self.reason = b""
        self.headers: list[tuple[bytes, bytes]] = []

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))


def parse_head(raw: bytes) -> ResponseHead:
    """Parse a head, blank line included.

    Raises:
        FCError: BAD_RESPONSE if it is not an HTTP/1 response.
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
        # The end of such a body is not certain (RFC 9112 6.1).
        raise bad_response("the function's Transfer-Encoding is not `chunked`")
    return head


def bad_response(detail: str) -> FCError:
    """The 502 for a response that cannot be forwarded (D/04/002)."""
    return FCError(Refusal.BAD_RESPONSE, detail=detail, remedy="look at what the function's server sends")


class Body:
    """Finds the end of a response's body and frames it for the client.

    `feed` takes what the instance sent and returns what the client gets. If the length is known, or if the end of the
    connection is the end of the body, these are the same bytes. If the instance sends chunks, they are chunks of our
    own: then nothing that a broken server sends after its body can reach the client as a second response.

    Args:
        head: the response's head.
        method: the request's method; an answer to HEAD has no body.
        rechunk: the client understands chunks (HTTP/1.1).
        tap: sees the body as it passes, without its framing.

    Attributes:
        done: the body has ended.
        surplus: bytes followed the body, so the connection cannot be used again.
        until_close: the body ends with the connection.
        chunked_out: the client gets the body in chunks.
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
        """The bytes for the client, for bytes that the instance sent.

        Raises:
            FCError: BAD_RESPONSE if the chunks are invalid.
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
        """The last bytes for the client when the instance closed its connection; None if the body is incomplete."""
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
        self._trailers.clear()  # headers of our own head, which made the parser expect chunks

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
