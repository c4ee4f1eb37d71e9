"""Requests are read from a client's connection, however its bytes are split."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcemu.gateway.connection import Connection, Request
from fcemu.gateway.flow import Outbox
from fcemu.gateway.memory import Memory
from fcemu.gateway.request_body import BodyBroken

Seen = tuple[str, str, bytes]


class Wire:
    """A transport that keeps what was done to it."""

    def __init__(self) -> None:
        self.written = b""
        self.reading = True
        self.ended = ""

    def write(self, data: bytes) -> None:
        self.written += data

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return bool(self.ended)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = self.ended or "half"

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"


class Answerer:
    """A server that notes each request, with its body unless it `skips` it."""

    def __init__(self, skips: bool = False) -> None:
        self.connections: set[Connection] = set()
        self.memory = Memory()
        self.outbox = Outbox()
        self.skips = skips
        self.seen: list[Seen] = []

    async def handle(self, request: Request) -> bool:
        """Note a request; the connection stays open if the client allows it."""
        body = b""
        try:
            while not self.skips and (part := await request.body.read()):
                body += part
        except BodyBroken:
            self.seen.append((request.head.method, request.head.target, b"broken"))
            return False
        self.seen.append((request.head.method, request.head.target, body))
        return request.keep_alive

    def refuse_unparsed(self, why: str) -> bytes:
        """Note bytes that are not a request."""
        self.seen.append(("?", why, b""))
        return b"400"


async def said(pieces: Sequence[bytes], skips: bool = False, twice: bool = False) -> tuple[list[Seen], Wire]:
    """What a server hears when a client sends these pieces, one after the other. `twice`: another one did before."""
    server, wire = Answerer(skips), Wire()
    if twice:
        await heard(server, Wire(), pieces)
        server.seen.clear()
    await heard(server, wire, pieces)
    return server.seen, wire


async def heard(server: Answerer, wire: Wire, pieces: Sequence[bytes]) -> None:
    """A client connects, sends these pieces and leaves."""
    connection = Connection(server)
    connection.connection_made(cast(Any, wire))
    for piece in pieces:
        if wire.ended not in ("closed", "aborted"):
            connection.data_received(piece)
        for _ in range(4):
            await asyncio.sleep(0)
    connection.connection_lost(None)
    await asyncio.wait([connection.task], timeout=5)
    assert connection.task.done()


def cut(data: bytes, at: Sequence[int]) -> list[bytes]:
    """Pieces of the data."""
    ends = sorted({place % len(data) for place in at} | {0, len(data)})
    return [data[begin:end] for begin, end in zip(ends, ends[1:], strict=False)]


def a_request(number: int, kind: str, body: bytes) -> tuple[bytes, Seen]:
    """The bytes of a request, and what is to be heard."""
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n" if kind.endswith("upgrade") else b""
    target, method = f"/{number}?{kind.replace(' ', '-')}", "POST" if body and not upgrade else "GET"
    head = f"{method} {target} HTTP/1.1\r\nHost: a\r\n".encode() + upgrade
    if kind.startswith("chunked"):
        chunks = b"".join(b"%x;x=y\r\n%c\r\n" % (1, byte) for byte in body) + b"0\r\nX-T: 1\r\n\r\n"
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks, (method, target, body)
    if kind.startswith("length"):
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body, (method, target, body)
    return head + b"\r\n", (method, target, b"")


KINDS = st.sampled_from(["plain", "upgrade", "length", "chunked", "length upgrade", "chunked upgrade"])
BODIES = st.sampled_from([b"", b"x", b"hello\r\n\r\nworld", b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"])


@given(
    st.lists(st.tuples(st.integers(0, 3), KINDS, BODIES), min_size=1, max_size=8),
    st.lists(st.integers(0, 2000), max_size=20),
    st.booleans(),
    st.booleans(),
)
def test_requests_are_the_same_however_they_are_cut(
    requests: list[tuple[int, str, bytes]], at: list[int], whole: bool, twice: bool
) -> None:
    """Requests, with bodies and declined upgrades, known or new, are heard one by one whatever pieces they come in."""
    made = [a_request(number, kind, body) for number, kind, body in requests]
    pieces = [sent for sent, _ in made] if whole else cut(b"".join(sent for sent, _ in made), at)
    seen, wire = asyncio.run(said(pieces, twice=twice))
    assert seen == [heard for _, heard in made]
    assert (wire.ended, wire.reading) == ("", True)


@given(st.lists(st.integers(0, 2000), max_size=20))
def test_body_that_nobody_wants_is_not_a_request(at: list[int]) -> None:
    """The unread part of a body is skipped, and the next request is read."""
    data = a_request(0, "length", b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")[0] + a_request(1, "plain", b"")[0]
    seen, _ = asyncio.run(said(cut(data, at), skips=True))
    assert [target for _, target, _ in seen] == ["/0?length", "/1?plain"]


async def test_unread_body_does_not_stop_the_connection() -> None:
    """A large body that is not read fills no buffer: the next request is read."""
    head = b"POST /0 HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
    pieces = [head, *[b"x" * 100_000] * 10, b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"]
    seen, wire = await said(pieces, skips=True)
    assert [target for _, target, _ in seen] == ["/0", "/1"]
    assert wire.reading


async def test_reading_pauses_while_a_body_is_not_read() -> None:
    """Reading pauses while a body is not consumed."""
    server, wire = Answerer(), Wire()
    connection = Connection(server)
    connection.connection_made(cast(Any, wire))
    connection.data_received(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n" + b"x" * 100_000)
    assert not wire.reading
    await asyncio.sleep(0)
    assert wire.reading
    connection.data_received(b"x" * 100_000)
    await asyncio.sleep(0)
    connection.connection_lost(None)
    await asyncio.wait([connection.task])
    assert server.seen == [("POST", "/", b"x" * 200_000)]


async def test_reading_pauses_behind_an_upgrade() -> None:
    """Bytes after a handshake are buffered up to a limit."""
    wire = Wire()
    connection = Connection(Answerer())
    connection.connection_made(cast(Any, wire))
    connection.data_received(a_request(0, "upgrade", b"")[0] + b"\x81" * 70_000)
    assert not wire.reading
    assert connection.detach() == b"\x81" * 70_000
    assert wire.reading
    connection.task.cancel()


@pytest.mark.parametrize("piece", [100, 5000])
async def test_head_without_an_end_is_refused(piece: int) -> None:
    """A head may grow to 64 KB, piece by piece, and no further."""
    pieces = [b"GET / HTTP/1.1\r\nHost: a\r\nX: ", *[b"x" * piece] * (70_000 // piece), b"\r\n\r\n"]
    seen, wire = await said(pieces)
    assert [(method, "larger than 65536 bytes" in why) for method, why, _ in seen] == [("?", True)]
    assert wire.ended == "half"


async def test_trailers_without_an_end_are_refused() -> None:
    """Trailers are dropped, and may be no larger than a head."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
    seen, _ = await said([head, *[b"X: " + b"x" * 5000] * 14, b"\r\n\r\n"])
    assert seen == [("POST", "/", b"broken")]
    seen, wire = await said([head, b"X: " + b"x" * 5000, b"\r\n\r\n"])
    assert (seen, wire.ended) == ([("POST", "/", b"x")], "")


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "no Host header"),
        (b"GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "more than one Host header"),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "HTTP/2.0 is not supported"),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "Invalid header token"),
    ],
)
async def test_reason_is_told(head: bytes, why: str) -> None:
    """The reason why bytes are not a request is given in words."""
    seen, wire = await said([head])
    assert len(seen) == 1
    assert why.lower() in seen[0][1].lower()
    assert wire.written == b"400"


async def test_broken_body_ends_the_connection() -> None:
    """The reader of an incomplete body gets an error, and nothing after it is a request."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    seen, _ = await said([head + b"1\r\nx\r\n", b"oops\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"])
    assert seen == [("POST", "/", b"broken")]


async def test_client_that_is_still_sending_gets_its_answer() -> None:
    """An answer before the end of a body half-closes, so that no reset takes the answer from the client."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n"
    seen, wire = await said([head, b"x" * 10, b"x" * 10], skips=True)
    assert seen == [("POST", "/", b"")]
    assert wire.ended == "half"
    seen, wire = await said([head + b"x" * 1000], skips=True)
    assert wire.ended == "closed"


async def test_repeated_request_is_not_read_again() -> None:
    """The bytes of a complete request without a body are cached for all connections; no other bytes are."""
    server, plain = Answerer(), a_request(0, "plain", b"")[0]
    pieces = [
        plain, plain[:10], plain[10:], a_request(1, "length", b"x")[0], a_request(2, "upgrade", b"")[0],
        a_request(3, "plain", b"")[0] * 2, plain,
    ]  # fmt: skip
    await heard(server, Wire(), pieces)
    assert [piece for piece in pieces if server.memory.request(piece)] == [plain, plain]
    head = server.memory.request(plain)
    await heard(server, Wire(), [plain, plain])
    assert [target for _, target, _ in server.seen] == [f"/{at}" + tail for at, tail in (
        (0, "?plain"), (0, "?plain"), (1, "?length"), (2, "?upgrade"), (3, "?plain"), (3, "?plain"),
        (0, "?plain"), (0, "?plain"), (0, "?plain"),
    )]  # fmt: skip
    assert server.memory.request(plain) is head


async def test_request_behind_the_last_one_is_not_known() -> None:
    """After `Connection: close` nothing is read, even if it is cached."""
    plain, last = a_request(0, "plain", b"")[0], b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    server, wire = Answerer(), Wire()
    await heard(server, wire, [plain, last, plain])
    assert [target for _, target, _ in server.seen] == ["/0?plain", "/1"]
    assert wire.ended == "closed"


async def test_known_requests_are_bounded() -> None:
    """The cache of requests stays small, whatever requests come."""
    server = Answerer()
    requests = [b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(1500)]
    await heard(server, Wire(), requests)
    assert len(server.seen) == 1500
    assert len([raw for raw in requests if server.memory.request(raw)]) == 500
    long = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 3000)
    await heard(server, Wire(), [long])
    assert server.memory.request(long) is None
