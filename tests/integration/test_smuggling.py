"""No request smuggling: a request that the gateway accepts reaches the instance as exactly one well-formed request.

RFC 9112 11.2. Every attack carries a second request, `/smuggled`, in a place where a looser reader would find it.
"""

from __future__ import annotations

from typing import Any

import pytest

from fcemu.emulator import Emulator
from fcemu.journal import InvocationEnded
from tests.conftest import Serve, function
from tests.wire import HOST, Wire, request, say

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: fn.localhost\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.fixture
async def raw(serve: Serve) -> Emulator:
    """An emulator in front of tests/functions/raw.py."""
    return await serve(function("raw.py"))


def post(fields: bytes, body: bytes = b"", *, line: bytes = b"POST /first HTTP/1.1\r\n", host: bytes = HOST) -> bytes:
    """A request with the given framing."""
    return line + host + fields + b"\r\n" + body


def chunks(size_line: bytes) -> bytes:
    """A chunked body whose first chunk of `hello` starts with this line."""
    return post(CHUNKED, size_line + b"hello\r\n0\r\n\r\n")


REFUSED: dict[str, bytes] = {
    # Content-Length and Transfer-Encoding
    "length and coding": post(b"Content-Length: 5\r\n" + CHUNKED, b"0\r\n\r\n"),
    "coding and length": post(CHUNKED + b"Content-Length: 5\r\n", b"0\r\n\r\n"),
    "zero length and coding": post(b"Content-Length: 0\r\n" + CHUNKED, b"0\r\n\r\n"),
    "coding twice": post(CHUNKED * 2, b"0\r\n\r\n"),
    "coding twice in one": post(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"),
    "unknown coding": post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
    "identity": post(b"Transfer-Encoding: identity\r\n", b"0\r\n\r\n"),
    "coding before chunked": post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
    "coding behind chunked": post(b"Transfer-Encoding: chunked, gzip\r\n", b"0\r\n\r\n"),
    "chunked with parameter": post(b"Transfer-Encoding: chunked;a=b\r\n", b"0\r\n\r\n"),
    "quoted chunked": post(b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n"),
    "chunked behind vertical tab": post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"),
    "empty coding": post(b"Transfer-Encoding: \r\n", b"0\r\n\r\n"),
    "space before the colon of the coding": post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"),
    "coding in HTTP/1.0": post(CHUNKED, b"0\r\n\r\n", line=b"POST /first HTTP/1.0\r\n"),
    "two lengths": post(b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello!"),
    "two lengths in one": post(b"Content-Length: 5, 6\r\n", b"hello!"),
    "length with a sign": post(b"Content-Length: +5\r\n", b"hello"),
    "negative length": post(b"Content-Length: -5\r\n", b"hello"),
    "hexadecimal length": post(b"Content-Length: 0x5\r\n", b"hello"),
    "length with an underscore": post(b"Content-Length: 1_0\r\n", b"hellohello"),
    "length with a fraction": post(b"Content-Length: 5.0\r\n", b"hello"),
    "empty length": post(b"Content-Length: \r\n"),
    "length in other digits": post("Content-Length: ５\r\n".encode(), b"hello"),
    "huge length": post(b"Content-Length: 18446744073709551621\r\n", b"hello"),
    "space before the colon of the length": post(b"Content-Length : 5\r\n", b"hello"),
    # chunks
    "0x chunk": chunks(b"0x5\r\n"),
    "chunk with a sign": chunks(b"+5\r\n"),
    "negative chunk": chunks(b"-5\r\n"),
    "chunk with an underscore": chunks(b"0_5\r\n"),
    "no chunk size": chunks(b"\r\n"),
    "no hexadecimal": chunks(b"g\r\n"),
    "bare LF behind a chunk size": chunks(b"5\n"),
    "bare CR behind a chunk size": chunks(b"5\r"),
    "space before a chunk size": chunks(b" 5\r\n"),
    "LF in a chunk extension": chunks(b"5;a\nb\r\n"),
    "chunk longer than it says": chunks(b"4\r\n"),
    "chunk without an end": post(CHUNKED, b"5\r\nhello0\r\n\r\n"),
    "NUL in a trailer": post(CHUNKED, b"0\r\nX: a\0b\r\n\r\n"),
    "trailer without a colon": post(CHUNKED, b"0\r\nnocolon\r\n\r\n"),
    # headers
    "folded header": post(b"X-A: b\r\n c\r\n"),
    "folded coding": post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"),
    "folded first header": b"GET / HTTP/1.1\r\n X-A: b\r\n" + HOST + b"\r\n",
    "bare LF lines": b"GET / HTTP/1.1\nHost: fn.localhost\n\n",
    "bare LF header": post(b"X-A: b\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "bare CR header": post(b"X-A: b\rTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "bare CR in a name": post(b"X-\rA: b\r\n"),
    "NUL in a value": post(b"X-A: b\0c\r\n"),
    "NUL in a name": post(b"X-\0A: b\r\n"),
    "control character in a value": post(b"X-A: b\x01c\r\n"),
    "space before a colon": post(b"X-A : b\r\n"),
    "space in a name": post(b"X A: b\r\n"),
    "no colon": post(b"nocolon\r\n"),
    "no name": post(b": b\r\n"),
    # the request line
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/2.0": post(b"", line=b"GET / HTTP/2.0\r\n"),
    "HTTP/1.2": post(b"", line=b"GET / HTTP/1.2\r\n"),
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/1.10": post(b"", line=b"GET / HTTP/1.10\r\n"),
    "space in the target": post(b"", line=b"GET /a b HTTP/1.1\r\n"),
    "tab for a space": post(b"", line=b"GET\t/\tHTTP/1.1\r\n"),
    "CR in the target": post(b"", line=b"GET /a\rb HTTP/1.1\r\n"),
    "NUL in the target": post(b"", line=b"GET /a\0b HTTP/1.1\r\n"),
    "method with a NUL": post(b"", line=b"GE\0T / HTTP/1.1\r\n"),
    "method that is no token": post(b"", line=b"G@T / HTTP/1.1\r\n"),
    "relative target": post(b"", line=b"GET first HTTP/1.1\r\n"),
    "asterisk": post(b"", line=b"GET * HTTP/1.1\r\n"),
    "other scheme": post(b"", line=b"GET ftp://fn.localhost/ HTTP/1.1\r\n"),
    "CONNECT": post(b"", line=b"CONNECT fn.localhost:80 HTTP/1.1\r\n"),
    # Host
    "no Host": post(b"", host=b""),
    "no Host, absolute target": post(b"", host=b"", line=b"GET http://fn.localhost/ HTTP/1.1\r\n"),
    "two Hosts": post(b"", host=HOST + b"Host: other.test\r\n"),
    "the same Host twice": post(b"", host=HOST * 2),
    "two Hosts, absolute target": post(b"", host=HOST * 2, line=b"GET http://fn.localhost/ HTTP/1.1\r\n"),
    "empty Host": post(b"", host=b"Host: \r\n"),
    "Host with a space": post(b"", host=b"Host: fn .localhost\r\n"),
    "Host with a slash": post(b"", host=b"Host: fn.localhost/x\r\n"),
    "Host with a user": post(b"", host=b"Host: a@fn.localhost\r\n"),
    "two Hosts in one": post(b"", host=b"Host: fn.localhost, other.test\r\n"),
    "Host with a bad port": post(b"", host=b"Host: fn.localhost:8a\r\n"),
    "absolute target with a user": post(b"", line=b"GET http://a@fn.localhost/ HTTP/1.1\r\n"),
    "absolute target without a host": post(b"", line=b"GET http:///x HTTP/1.1\r\n"),
}


async def heads(emulator: Emulator) -> list[Any]:
    """The requests that the instance has got."""
    async with await Wire.open(emulator) as wire:
        await wire.send(request("/seen"))
        return [(item["head"].split("\r\n")[0], item["body"]) for item in (await wire.answer()).json]


@pytest.mark.parametrize("attack", REFUSED.values(), ids=REFUSED.keys())
async def test_refused(raw: Emulator, attack: bytes) -> None:
    """An ambiguous request is refused with 400, ends the connection, and does not reach the instance."""
    async with await Wire.open(raw) as wire:
        await wire.send(attack + SMUGGLED)
        answer = await wire.answer()
        assert (answer.status, answer.code) == (400, "InvalidArgument")
        if answer.values("connection") == ["close"]:
            assert await wire.at_end() == b""
        else:  # the request was whole, and what is behind it is a request of its own
            assert (await wire.answer()).json["head"].startswith("GET /smuggled ")
    assert await heads(raw) == ([] if answer.values("connection") else [("GET /smuggled HTTP/1.1", "")])


@pytest.mark.parametrize("split", [1, 2, 3, 7])
@pytest.mark.parametrize("name", ["length and coding", "two lengths", "0x chunk", "bare LF lines", "folded header"])
async def test_refused_in_pieces(raw: Emulator, name: str, split: int) -> None:
    """The same holds when the bytes come a few at a time."""
    data = REFUSED[name] + SMUGGLED
    async with await Wire.open(raw) as wire:
        try:
            for start in range(0, len(data), split):
                await wire.send(data[start : start + split])
        except ConnectionError:
            pass
        assert await wire.at_end() is not None
    assert await heads(raw) == []
    assert any(isinstance(r, InvocationEnded) and r.status == 400 for r in raw.journal.records)


HARMLESS: dict[str, tuple[bytes, str, bytes]] = {
    # what the client sends → request line and body that the instance gets
    "leading zeros": (post(b"Content-Length: 005\r\n", b"hello"), "POST /first HTTP/1.1", b"hello"),
    "spaces around a length": (post(b"Content-Length:  5 \t\r\n", b"hello"), "POST /first HTTP/1.1", b"hello"),
    "upper-case chunked": (
        post(b"TRANSFER-ENCODING: Chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"), "POST /first HTTP/1.1", b"hello",
    ),
    "leading zeros in a chunk": (chunks(b"0005\r\n"), "POST /first HTTP/1.1", b"hello"),
    "chunk extension": (chunks(b'5;a="b;\\"c"\r\n'), "POST /first HTTP/1.1", b"hello"),
    "length of a GET": (
        post(b"Content-Length: 5\r\n", b"hello", line=b"GET /first HTTP/1.1\r\n"), "GET /first HTTP/1.1", b"hello",
    ),
    "empty lines before": (b"\r\n\r\n" + post(b""), "POST /first HTTP/1.1", b""),
    "request in a body": (
        post(b"Content-Length: %d\r\n" % len(SMUGGLED), SMUGGLED), "POST /first HTTP/1.1", SMUGGLED,
    ),
    "length named by Connection": (
        post(b"Connection: content-length\r\nContent-Length: %d\r\n" % len(SMUGGLED), SMUGGLED),
        "POST /first HTTP/1.1", SMUGGLED,
    ),
    "coding named by Connection": (
        post(b"Connection: transfer-encoding\r\n" + CHUNKED, b"5\r\nhello\r\n0\r\n\r\n"),
        "POST /first HTTP/1.1", b"hello",
    ),
    "request in the body of an upgrade": (
        post(
            b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: %d\r\n" % len(SMUGGLED), SMUGGLED,
            line=b"GET /first HTTP/1.1\r\n",
        ),
        "GET /first HTTP/1.1", SMUGGLED,
    ),
    "request in the chunks of an upgrade": (
        post(
            b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + CHUNKED,
            b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
            line=b"GET /first HTTP/1.1\r\n",
        ),
        "GET /first HTTP/1.1", SMUGGLED,
    ),
    "request in the body of an upgrade by POST": (
        post(b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: %d\r\n" % len(SMUGGLED), SMUGGLED),
        "POST /first HTTP/1.1", SMUGGLED,
    ),
    "escaped line ends": (
        post(b"", line=b"GET /a%0d%0aX-B:%20c HTTP/1.1\r\n"), "GET /a%0d%0aX-B:%20c HTTP/1.1", b"",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("data", "line", "body"), HARMLESS.values(), ids=HARMLESS.keys())
async def test_one_well_formed_request_arrives(raw: Emulator, data: bytes, line: str, body: bytes) -> None:
    """An unusual but unambiguous request arrives as one request with one framing, and so does the next one."""
    async with await Wire.open(raw) as wire:
        await wire.send(data + request("/next"))
        first, second = await wire.answer(), await wire.answer()
    assert (first.status, second.status) == (200, 200)
    assert await heads(raw) == [(line, body.decode()), ("GET /next HTTP/1.1", "")]
    fields = [field.partition(": ") for field in first.json["head"].lower().split("\r\n")[1:-2]]
    framing = [(name, value) for name, _, value in fields if name in ("content-length", "transfer-encoding")]
    assert len(framing) <= 1
    assert not framing or framing[0] in [("content-length", str(len(body))), ("transfer-encoding", "chunked")]
    assert not body or framing


async def test_upgrade_without_an_answer_in_between(raw: Emulator) -> None:
    """Bytes after a refused WebSocket handshake are a request of their own."""
    async with await Wire.open(raw) as wire:
        upgrade = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: x")
        await wire.send(request("/first", *upgrade) + request("/next"))
        assert (await wire.answer()).status == 200
        assert (await wire.answer()).status == 200
    assert await heads(raw) == [("GET /first HTTP/1.1", ""), ("GET /next HTTP/1.1", "")]


@pytest.mark.parametrize("protocol", [b"h2c", b"tcp", b"TLS/1.0", b"h2c, websocket"])
async def test_other_upgrade_is_not_offered(raw: Emulator, protocol: bytes) -> None:
    """An upgrade to something else than WebSocket is an ordinary request, and the last one of its connection."""
    async with await Wire.open(raw) as wire:
        await wire.send(request("/first", b"Connection: Upgrade", b"Upgrade: " + protocol, method="POST") + SMUGGLED)
        answer = await wire.answer()
        assert (answer.status, answer.values("connection")) == (200, ["close"])
        assert await wire.at_end() == b""
    assert await heads(raw) == [("POST /first HTTP/1.1", "")]


async def test_second_space_before_the_target(raw: Emulator) -> None:
    """A second space in the request line never reaches the instance; llhttp reads it as one."""
    async with await Wire.open(raw) as wire:
        await wire.send(b"GET  /first HTTP/1.1\r\n" + HOST + b"\r\n")
        answer = await wire.answer()
    assert await heads(raw) == ([("GET /first HTTP/1.1", "")] if answer.status == 200 else [])
    assert answer.status in (200, 400)


async def test_answer_before_the_body_leaves_nothing_behind(raw: Emulator) -> None:
    """The rest of a body after an early answer is never read as a request, at either end."""
    async with await Wire.open(raw) as wire:
        await wire.send(request("/early", b"Content-Length: 1000", method="POST") + b"x" * 10)
        assert (await wire.answer()).values("connection") == ["close"]
        await wire.send(SMUGGLED)
        wire.writer.write_eof()
        assert await wire.at_end() == b""
    assert await heads(raw) == []


@pytest.mark.parametrize("method", [b"FOO", b"TRACE", b"PROPFIND", b"GETX", b"gEt!"])
async def test_unknown_method(raw: Emulator, method: bytes) -> None:
    """A method that the trigger does not know is refused by the parser or by the trigger."""
    async with await Wire.open(raw) as wire:
        await wire.send(post(b"", line=method + b" /first HTTP/1.1\r\n"))
        answer = await wire.answer()
    assert (answer.status, answer.code) in [(400, "InvalidArgument"), (403, "AccessDenied")]
    assert await heads(raw) == []


async def test_huge_chunk(raw: Emulator) -> None:
    """A chunk larger than 64 bits can count is not a small one."""
    async with await Wire.open(raw) as wire:
        await wire.send(chunks(b"10000000000000005\r\n") + SMUGGLED)
        assert (await wire.at_end()).count(b"HTTP/1.1 400 ") == 1
    assert await heads(raw) == []


async def test_broken_body_does_not_reach_another_request(raw: Emulator) -> None:
    """An incomplete body is a failed request for the function, not the start of the next request."""
    async with await Wire.open(raw) as wire:
        await wire.send(request("/feed/a", b"Transfer-Encoding: chunked", method="POST") + b"5\r\nhello\r\n")
        async with await Wire.open(raw) as other:
            await other.send(request("/fed/a?5"))
            assert (await other.answer()).status == 200
        await wire.send(b"oops\r\n" + SMUGGLED)
        answer = await wire.answer()
        assert (answer.status, answer.code, answer.values("connection")) == (400, "InvalidArgument", ["close"])
        assert await wire.at_end() == b""
    assert await heads(raw) == []


async def test_broken_body_behind_a_pipelined_request(raw: Emulator) -> None:
    """A pipelined request with a broken body is refused after the answer to the one before."""
    async with await Wire.open(raw) as wire:
        await wire.send(request("/events/a"))
        assert (await wire.head()).status == 200
        await wire.send(post(CHUNKED, b"5\r\nhello\r\n"))
        await wire.send(b"oops\r\n" + SMUGGLED)
        for _ in range(2):
            async with await Wire.open(raw) as other:
                await other.send(request("/ack/a"))
                assert (await other.answer()).status == 200
        while await wire.chunk():
            pass
        assert await wire.lines() == []
        assert (await wire.answer()).code == "InvalidArgument"
        assert await wire.at_end() == b""
    assert await heads(raw) == []


async def test_broken_body_behind_a_begun_answer(raw: Emulator) -> None:
    """A body that breaks while its answer is being sent cuts the answer."""
    async with await Wire.open(raw) as wire:
        await wire.send(request("/hang/a?begun", b"Transfer-Encoding: chunked", method="POST") + b"5\r\nhello\r\n")
        assert (await wire.head()).status == 200
        await wire.send(b"oops\r\n" + SMUGGLED)
        assert await wire.at_end() in (b"half", b"")
    assert await heads(raw) == []


@pytest.mark.parametrize(
    "field",
    [b"Location: /\\r\\n", b"X-A: b\rSet-Cookie: c", b"X-A: b\nSet-Cookie: c", b"X-A: b\0c", b"X A: b", b"X-A : b"],
)
async def test_function_cannot_split_its_response(raw: Emulator, field: bytes) -> None:
    """A response header with a line end in it does not become two."""
    async with await Wire.open(raw) as wire:
        await wire.send(request(say(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n%b\r\n\r\n" % field)))
        answer = await wire.answer()
        assert answer.values("set-cookie") == []
        assert (
            (answer.status, answer.code) == (502, "BadResponse") if b"Location" not in field else answer.status == 200
        )
