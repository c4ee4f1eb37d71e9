"""Plain HTTP passes through: the function sees what the client sent, and the client gets what it answers."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from fcemu.emulator import Emulator
from fcemu.journal import InstanceChanged, InvocationEnded
from tests.conftest import Serve, function
from tests.served import uncollected
from tests.wire import HOST, Answer, Wire, request, say

Ask = Callable[..., Awaitable[Answer]]

MB = 1 << 20
DOMAIN = {"domainName": "shop.test", "routeConfig": {"routes": [{"path": "/*", "functionName": "fn"}]}}
SHOP = b"Host: shop.test\r\n"

COMMON = [
    "X-Fc-Access-Key-Id", "X-Fc-Access-Key-Secret", "X-Fc-Account-Id", "X-Fc-Api-Server-Ip", "X-Fc-Base-Path",
    "X-Fc-Client-Ip", "X-Fc-Control-Path", "X-Fc-Eagleeye-Rpcid", "X-Fc-Eagleeye-Traceid", "X-Fc-Eagleeye-Userdata",
    "X-Fc-Function-Handler", "X-Fc-Function-Memory", "X-Fc-Function-Name", "X-Fc-Function-Timeout", "X-Fc-Qualifier",
    "X-Fc-Region", "X-Fc-Request-Id", "X-Fc-Retry-Count", "X-Fc-Security-Token", "X-Fc-Service-Logproject",
    "X-Fc-Service-Logstore", "X-Fc-Service-Name", "X-Fc-Tracing-Jaeger-Endpoint",
    "X-Fc-Tracing-Opentracing-Span-Baggages", "X-Fc-Tracing-Opentracing-Span-Context", "X-Fc-Version-Id",
]  # fmt: skip


@pytest.fixture
async def raw(serve: Serve) -> Emulator:
    """An emulator in front of tests/functions/raw.py, by its default domain and by shop.test."""
    return await serve(function("raw.py"), customDomains=[DOMAIN])


@pytest.fixture
async def wire(raw: Emulator) -> AsyncIterator[Wire]:
    """A connection to it."""
    async with await Wire.open(raw) as wire:
        yield wire


async def ask(emulator: Emulator, data: bytes, **how: Any) -> Answer:
    """One request on a connection of its own."""
    async with await Wire.open(emulator) as wire:
        await wire.send(data)
        return await wire.answer(**how)


def seen(answer: Answer) -> tuple[str, list[tuple[str, str]]]:
    """The request line and the header pairs that the function got."""
    assert answer.status == 200, answer
    line, *fields = answer.json["head"].encode("latin-1").decode("utf-8", "surrogateescape").split("\r\n")[:-2]
    pairs = [field.partition(": ") for field in fields]
    return line, [(name, value) for name, _, value in pairs]


async def ended(emulator: Emulator, target: str) -> InvocationEnded:
    """The record of the end of the invocation with that target, once it is written."""
    found: asyncio.Future[InvocationEnded] = asyncio.get_running_loop().create_future()

    def look(record: object) -> None:
        if isinstance(record, InvocationEnded) and record.target == target and not found.done():
            found.set_result(record)

    unsubscribe = emulator.journal.subscribe(look)
    for record in list(emulator.journal.records):
        look(record)
    try:
        return await found
    finally:
        unsubscribe()


def started(emulator: Emulator) -> list[str]:
    """The instances that became ready, in order."""
    records = emulator.journal.records
    return [r.instance_id for r in records if isinstance(r, InstanceChanged) and r.state == "ready"]


# ---- the request


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
async def test_method_passes(raw: Emulator, method: str) -> None:
    """The function sees the client's method."""
    line, _ = seen(await ask(raw, request("/m", method=method, body=b"x")))
    assert line == f"{method} /m HTTP/1.1"


@pytest.mark.parametrize(
    "target",
    [
        "/", "//", "//a//b", "/a%2Fb", "/a%2fb", "/a;b=c;d", "/%00", "/a/../b", "/./a/.", "/?", "/a?b=c&b=d&e",
        "/a??b#",
        "/%", "/%zz", "/a%20b+c", "/a|b", "/a\\b", "/a'b\"c", "/{x}[y]", "/~", "/a:b@c", "/http://x/y",
        "/" + "a" * 4000,
    ],
)  # fmt: skip
async def test_target_passes(raw: Emulator, target: str | bytes) -> None:
    """The raw target passes byte by byte."""
    expected = target if isinstance(target, str) else target.decode("utf-8", "surrogateescape")
    line, _ = seen(await ask(raw, request(target)))
    assert line == f"GET {expected} HTTP/1.1"


@pytest.mark.parametrize("target", ["/é/ü?ß=漢".encode(), b"/\xff\xfe?\x80"])
async def test_target_beyond_ascii(raw: Emulator, target: bytes) -> None:
    """Raw bytes beyond ASCII in a target are refused (RFC 9112 3.2)."""
    answer = await ask(raw, request(target))
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert (await ask(raw, request("/seen"))).json == []


async def test_request_leaves_nothing_for_the_collector(raw: Emulator, wire: Wire) -> None:
    """The objects of a request are freed when it ends: no reference cycle keeps them until a garbage collection."""
    with uncollected() as left:
        for _ in range(10):
            await wire.send(request("/first"))
            assert (await wire.answer()).status == 200
        async with await Wire.open(raw) as other:
            await other.send(request("/second", b"Content-Length: 3", method="POST") + b"abc")
            assert (await other.answer()).status == 200
        await asyncio.sleep(0.1)
    assert left == []


async def test_header_pairs_pass(raw: Emulator) -> None:
    """Header pairs pass in order, with their duplicates, their case and their bytes."""
    sent = [
        b"X-One: 1", b"x-two: 2", b"X-ONE: 3", b"Cookie: a=b", b"Cookie: c=d", b"X-Empty: ", b"X-Tab: a\tb",
        b"X-Bytes: caf\xc3\xa9 \xff", b"Accept-Encoding: gzip, br", b"Authorization: Bearer x", b"X-Forwarded-Foo: 1",
    ]  # fmt: skip
    _, pairs = seen(await ask(raw, request("/", *sent)))
    expected = [tuple(line.decode("utf-8", "surrogateescape").split(": ", 1)) for line in [HOST.strip(), *sent]]
    assert pairs[: len(expected)] == expected
    assert {name for name, _ in pairs[len(expected) :]} == {"X-Forwarded-Proto", *COMMON}


async def test_headers_that_are_not_passed(raw: Emulator) -> None:
    """The client's x-fc-*, connection, keep-alive and what Connection names are dropped."""
    sent = [
        b"X-Fc-Account-Id: forged", b"x-fc-foo: 1", b"Connection: keep-alive, X-Mine", b"connection: x-other, Host",
        b"Keep-Alive: timeout=5", b"X-Mine: 1", b"X-OTHER: 2", b"X-Kept: 3", b"TE: trailers", b"Upgrade: h2c",
        b"Proxy-Connection: close",
    ]  # fmt: skip
    _, pairs = seen(await ask(raw, request("/", *sent)))
    assert sorted(name for name, _ in pairs) == sorted(["Host", "X-Kept", "X-Forwarded-Proto", *COMMON])
    assert dict(pairs)["X-Fc-Account-Id"] == raw.account.accountId


async def test_common_headers(serve: Serve) -> None:
    """The common headers are all set, those without a value empty."""
    emulator = await serve(function("raw.py", memorySize=1024, region="cn-beijing", handler="a.b", timeout=7))
    answer = await ask(emulator, request("/a/b?c"))
    _, pairs = seen(answer)
    common = {name: value for name, value in pairs if name.startswith("X-Fc-")}
    assert sorted(common) == sorted(COMMON)
    assert {name: value for name, value in common.items() if value} == {
        "X-Fc-Account-Id": emulator.account.accountId,
        "X-Fc-Base-Path": "/a/b",
        "X-Fc-Control-Path": "/http-invoke",
        "X-Fc-Function-Handler": "a.b",
        "X-Fc-Function-Memory": "1024",
        "X-Fc-Function-Name": "fn",
        "X-Fc-Function-Timeout": "7",
        "X-Fc-Qualifier": "LATEST",
        "X-Fc-Region": "cn-beijing",
        "X-Fc-Request-Id": answer.values("x-fc-request-id")[0],
        "X-Fc-Retry-Count": "0",
    }


async def test_forwarded_headers(raw: Emulator) -> None:
    """X-Forwarded-Proto is added, X-Forwarded-For is only ever the client's own."""
    _, pairs = seen(await ask(raw, request()))
    assert ("X-Forwarded-Proto", "http") in pairs
    assert "X-Forwarded-For" not in dict(pairs)
    _, pairs = seen(await ask(raw, request("/", b"X-Forwarded-For: 1.2.3.4", b"x-forwarded-proto: https")))
    assert [pair for pair in pairs if "forwarded" in pair[0].lower()] == [
        ("X-Forwarded-For", "1.2.3.4"),
        ("x-forwarded-proto", "https"),
    ]


@pytest.mark.parametrize("host", ["fn.localhost", "FN.localhost:8080", "127.0.0.1", "shop.test", "Shop.Test:80"])
async def test_host_passes(raw: Emulator, host: str) -> None:
    """The Host header passes unchanged."""
    _, pairs = seen(await ask(raw, request(host=f"Host: {host}\r\n".encode())))
    assert [value for name, value in pairs if name.lower() == "host"] == [host]


@pytest.mark.parametrize(
    ("target", "line"),
    [
        ("http://fn.localhost/a%2Fb?c", "GET /a%2Fb?c HTTP/1.1"),
        ("http://fn.localhost", "GET / HTTP/1.1"),
        ("http://fn.localhost?c", "GET /?c HTTP/1.1"),
        ("HTTP://fn.localhost:80//x", "GET //x HTTP/1.1"),
    ],
)
async def test_absolute_target(raw: Emulator, target: str, line: str) -> None:
    """An absolute target is read as its path, and its host wins over the Host header."""
    got, pairs = seen(await ask(raw, request(target, host=b"Host: other.test\r\n")))
    assert got == line
    assert [value.partition(":")[0] for name, value in pairs if name == "Host"] == ["fn.localhost"]


async def test_body_passes(raw: Emulator) -> None:
    """A body passes with its length, and an empty one with length 0."""
    answer = await ask(raw, request("/", method="POST", body=b"\0\xff\r\n\r\n"))
    _, pairs = seen(answer)
    assert answer.json["body"] == "\0\xff\r\n\r\n"
    assert [value for name, value in pairs if name == "Content-Length"] == ["6"]
    _, pairs = seen(await ask(raw, request("/", method="POST", body=b"")))
    assert [value for name, value in pairs if name == "Content-Length"] == ["0"]


async def test_chunked_body_passes(raw: Emulator) -> None:
    """A chunked body passes as chunks; its extensions and trailers end at the gateway."""
    body = b"5;name=value\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n"
    answer = await ask(raw, request("/", b"Transfer-Encoding: chunked", method="POST") + body)
    _, pairs = seen(answer)
    assert answer.json["body"] == "hello world"
    assert [pair for pair in pairs if pair[0] in ("Content-Length", "Transfer-Encoding")] == [
        ("Transfer-Encoding", "chunked")
    ]


async def test_content_encoding_is_untouched(raw: Emulator) -> None:
    """A compressed body passes compressed, both ways."""
    packed = gzip.compress(b"hello" * 100, mtime=0)
    answer = await ask(raw, request("/", b"Content-Encoding: gzip", method="POST", body=packed))
    assert answer.json["body"].encode("latin-1") == packed
    response = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(packed), packed)
    answer = await ask(raw, request(say(response)))
    assert answer.values("content-encoding") == ["gzip"]
    assert answer.body == packed


# ---- streaming


@pytest.mark.parametrize("chunked", [False, True])
async def test_request_body_streams(raw: Emulator, wire: Wire, chunked: bool) -> None:
    """The function gets the first piece before the client has sent the second."""
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 10"

    def piece(data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if chunked else data

    await wire.send(request("/feed/a", framing, method="POST") + piece(b"first"))
    assert (await ask(raw, request("/fed/a?5"))).json == 5
    await wire.send(piece(b"other") + (b"0\r\n\r\n" if chunked else b""))
    assert (await wire.answer()).json[0] == 10


async def test_both_directions_stream(wire: Wire) -> None:
    """The answer to a piece arrives before the next piece is sent."""
    await wire.send(request("/echo", b"Transfer-Encoding: chunked", method="POST"))
    await wire.send(b"1\r\na\r\n")
    assert (await wire.head()).status == 200
    for piece in (b"b", b"c", b"d"):
        assert await wire.chunk() != piece
        await wire.send(b"1\r\n%b\r\n" % piece)
    assert await wire.chunk() == b"d"
    await wire.send(b"0\r\n\r\n")
    assert await wire.chunk() == b""


async def test_events_arrive_one_by_one(raw: Emulator, wire: Wire) -> None:
    """Each server-sent event arrives before the next one is written."""
    await wire.send(request("/events/a"))
    assert (await wire.head()).values("content-type") == ["text/event-stream"]
    for number in range(3):
        assert await wire.chunk() == b"data: %d\n\n" % number
        await ask(raw, request("/ack/a", method="POST"))
    assert await wire.chunk() == b""


@pytest.mark.parametrize("chunked", [False, True])
async def test_large_upload(raw: Emulator, chunked: bool) -> None:
    """Ten megabytes pass up unchanged."""
    data = os.urandom(10 * MB)
    if chunked:
        parts = [data[i : i + 100_000] for i in range(0, len(data), 100_000)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""])
        answer = await ask(raw, request("/feed/a", b"Transfer-Encoding: chunked", method="POST") + body)
    else:
        answer = await ask(raw, request("/feed/a", method="POST", body=data))
    assert answer.json == [len(data), hashlib.sha256(data).hexdigest()]


@pytest.mark.parametrize("chunked", [False, True])
async def test_large_download(raw: Emulator, chunked: bool) -> None:
    """Ten megabytes pass down unchanged, and the connection can be used again."""
    async with await Wire.open(raw) as wire:
        if chunked:
            body = b"%x\r\n%b\r\n" % (10 * MB, bytes(10 * MB))
            await wire.send(request("/echo", b"Transfer-Encoding: chunked", method="POST") + body + b"0\r\n\r\n")
            answer = await wire.answer()
            assert answer.chunks > 1
        else:
            await wire.send(request(f"/flood/a?{10 * MB}"))
            answer = await wire.answer()
            await wire.send(request("/again"))
            assert (await wire.answer()).status == 200
        assert answer.body == bytes(10 * MB)


async def test_slow_reader_holds_the_function_back(raw: Emulator, wire: Wire) -> None:
    """While the client does not read, the function can write only as much as the sockets between them hold."""
    size = 128 * MB
    await wire.send(request(f"/flood/a?{size}"))
    assert (await ask(raw, request("/flooded/a"))).json < 48 * MB
    await wire.head()
    left = size
    while left:
        left -= len(await wire.reader.read(min(left, MB)))


async def test_slow_function_holds_the_client_back(raw: Emulator, wire: Wire) -> None:
    """While the function does not read, the upload waits, and it is complete afterwards."""
    data = bytes(31 * MB)
    sending = asyncio.create_task(wire.send(request("/deaf/a", method="POST", body=data)))
    await ask(raw, request("/waits/a"))
    await ask(raw, request("/ack/a", method="POST"))
    await sending
    assert (await wire.answer()).json == [len(data), hashlib.sha256(data).hexdigest()]


# ---- the response


async def test_response_passes(raw: Emulator) -> None:
    """Status, reason, header pairs in order and body pass; the gateway's own headers come after them."""
    sent = (
        b"HTTP/1.1 418 I'm a teapot\r\nx-a: 1\r\nX-B: 2\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nX-A: \xc3\xa9\xff\r\n"
    )
    answer = await ask(raw, request(say(sent + b"Content-Length: 3\r\n\r\ntea")))
    assert (answer.status, answer.reason, answer.body) == (418, "I'm a teapot", b"tea")
    assert answer.headers[:5] == [
        ("x-a", "1"), ("X-B", "2"), ("Set-Cookie", "a=1"), ("set-cookie", "b=2"), ("X-A", "Ã©ÿ")
    ]  # fmt: skip
    assert [name for name, _ in answer.headers[5:]] == [
        "Access-Control-Expose-Headers", "Content-Length", "Content-Disposition", "X-Fc-Request-Id", "Date"
    ]  # fmt: skip


async def test_reserved_response_headers_are_dropped(raw: Emulator) -> None:
    """Headers that the cloud reserves are not passed on, and no Server header is added."""
    answer = await ask(
        raw,
        request(
            say(
                b"HTTP/1.1 200 OK\r\nX-Fc-Foo: 1\r\nx-fc-request-id: 2\r\nDate: then\r\nServer: mine\r\n"
                b"Keep-Alive: 5\r\nX-Kept: 1\r\nConnection: X-Hop\r\nX-Hop: 1\r\nUpgrade: h2c\r\n"
                b"Content-Disposition: inline\r\nContent-Length: 0\r\n\r\n"
            )
        ),
    )
    names = [name.lower() for name, _ in answer.headers]
    assert sorted(names) == sorted(
        ["x-kept", "access-control-expose-headers", "content-length", "content-disposition", "x-fc-request-id", "date"]
    )
    assert answer.values("content-disposition") == ["attachment"]
    assert answer.values("date") != ["then"]
    assert re.fullmatch(r"1-[0-9a-f]{8}-[0-9a-f]{6,8}-[0-9a-f]{12}", answer.values("x-fc-request-id")[0])


async def test_custom_domain_does_not_force_a_download(raw: Emulator) -> None:
    """On a custom domain the function's Content-Disposition passes and none is added."""
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
    answer = await ask(raw, request(say(response + b"\r\n"), host=SHOP))
    assert answer.values("content-disposition") == []
    answer = await ask(raw, request(say(response + b"Content-Disposition: inline\r\n\r\n"), host=SHOP))
    assert answer.values("content-disposition") == ["inline"]
    assert (await ask(raw, request())).values("content-disposition") == ["attachment"]


async def test_chunked_response_with_trailers(wire: Wire) -> None:
    """A chunked answer arrives as chunks with its trailers, less the reserved ones."""
    response = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-Last\r\n\r\n"
        b"5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 1\r\nX-Fc-Request-Id: forged\r\nDate: then\r\nX-Last: 2\r\n\r\n"
    )
    for _ in range(2):  # the connection is good for more
        await wire.send(request(say(response)))
        answer = await wire.answer()
        assert (answer.body, answer.trailers) == (b"hello!", [("X-Sum", "1"), ("X-Last", "2")])
        assert answer.values("trailer") == ["X-Sum, X-Last"]


async def test_response_until_close(wire: Wire) -> None:
    """A body that ends with the function's connection is chunked for the client, whose connection stays open."""
    for _ in range(2):
        await wire.send(request(say(b"HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\nto the end", "close")))
        answer = await wire.answer()
        assert (answer.body, answer.values("connection")) == (b"to the end", [])


async def test_surplus_does_not_reach_anybody(wire: Wire) -> None:
    """Bytes that a function sends after its body are not a second response."""
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    for framed in (b"Content-Length: 2\r\n\r\nok", b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"):
        await wire.send(request(say(b"HTTP/1.1 200 OK\r\n" + framed + evil)))
        assert (await wire.answer()).body == b"ok"
        await wire.send(request("/next"))
        assert (await wire.answer()).json["head"].startswith("GET /next ")
    for status in (b"204 No Content", b"304 Not Modified"):
        await wire.send(request(say(b"HTTP/1.1 %b\r\n\r\n" % status + evil)))
        assert (await wire.answer()).status == int(status[:3])
        await wire.send(request("/next"))
        assert (await wire.answer()).json["head"].startswith("GET /next ")


async def test_head(wire: Wire) -> None:
    """An answer to HEAD keeps its length and has no body."""
    for _ in range(2):
        await wire.send(request(say(b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n"), method="HEAD"))
        answer = await wire.answer(head_only=True)
        assert answer.values("content-length") == ["12345"]
    await wire.send(request(say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), method="HEAD"))
    assert (await wire.answer(head_only=True)).status == 200
    await wire.send(request())
    assert (await wire.answer()).status == 200


async def test_answers_without_a_body(wire: Wire) -> None:
    """204 and 304 have no body; 304 keeps the length of the resource."""
    await wire.send(request(say(b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n")))
    answer = await wire.answer()
    assert (answer.status, answer.values("content-length"), answer.values("x-a")) == (204, [], ["1"])
    await wire.send(request(say(b"HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 99\r\n\r\n")))
    answer = await wire.answer()
    assert (answer.status, answer.values("content-length"), answer.values("etag")) == (304, ["99"], ["x"])
    await wire.send(request())
    assert (await wire.answer()).status == 200


async def test_range(raw: Emulator) -> None:
    """Range and 206 pass."""
    _, pairs = seen(await ask(raw, request("/", b"Range: bytes=0-3")))
    assert ("Range", "bytes=0-3") in pairs
    response = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-3/9\r\nContent-Length: 4\r\n\r\nabcd"
    answer = await ask(raw, request(say(response), b"Range: bytes=0-3"))
    assert (answer.status, answer.body, answer.values("content-range")) == (206, b"abcd", ["bytes 0-3/9"])


async def test_expect_continue(wire: Wire) -> None:
    """The interim 100 comes from the function, and the body is sent after it."""
    await wire.send(request("/continue", b"Expect: 100-continue", b"Content-Length: 5", method="POST"))
    assert (await wire.answer()).status == 100
    await wire.send(b"hello")
    assert (await wire.answer()).body == b"hello"


async def test_expectation_refused(wire: Wire) -> None:
    """An answer without a 100 arrives though no body was sent, and ends the connection."""
    head = request("/hang/a", b"Expect: 100-continue", b"Content-Length: %d" % (33 * MB), method="POST")
    await wire.send(head)
    answer = await wire.answer()
    assert (answer.status, answer.values("connection")) == (400, ["close"])


async def test_early_hints(wire: Wire) -> None:
    """103 Early Hints pass, several of them, before the answer."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n" * 2
    await wire.send(request(say(hints + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")))
    for _ in range(2):
        hint = await wire.answer()
        assert (hint.status, hint.headers) == (103, [("Link", "</a.css>; rel=preload")])
    assert (await wire.answer()).body == b"ok"


async def test_unasked_upgrade_is_a_bad_response(raw: Emulator) -> None:
    """A 101 to a request that asked for no upgrade is not passed on."""
    answer = await ask(raw, request(say(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "hang")))
    assert (answer.status, answer.code) == (502, "BadResponse")


@pytest.mark.parametrize(
    "response",
    [
        b"hello\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\nX: y\n\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
    ],
)
async def test_bad_response(serve: Serve, response: bytes) -> None:
    """A response that is not HTTP becomes 502 BadResponse, and the instance stays."""
    emulator = await serve(function("raw.py"))
    answer = await ask(emulator, request(say(response)))
    assert (answer.status, answer.code) == (502, "BadResponse")
    assert answer.values("x-fc-error-type") == ["UnhandledInvocationError"]
    assert (await ask(emulator, request())).status == 200
    assert len(started(emulator)) == 1


@pytest.mark.parametrize("size", [8 * 1024 + 1, 200 * 1024])
async def test_large_response_headers(raw: Emulator, size: int) -> None:
    """Response headers over 8 KB are answered with 502 BadResponse."""
    answer = await ask(raw, request(f"/headers/a?{size}"))
    assert (answer.status, answer.code) == (502, "BadResponse")
    answer = await ask(raw, request("/headers/a?8192"))
    assert answer.status == 200


@pytest.mark.parametrize("bad", [b"x\r\n", b"-1\r\n", b"5\r\nhelloX\r\n", b"5\nhello\n0\n\n", b"fffffffffffffffff\r\n"])
async def test_bad_chunk_cuts_the_answer(raw: Emulator, wire: Wire, bad: bytes) -> None:
    """A broken chunk ends the client's answer without its end."""
    target = say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n" + bad, "hang")
    await wire.send(request(target))
    rest = await wire.at_end()
    assert not rest.endswith(b"0\r\n\r\n")
    record = await ended(raw, target)
    assert (record.error_code, record.closed_by) == ("BadResponse", "error")


@pytest.mark.parametrize(
    "begun",
    [
        b"Content-Length: 9\r\n\r\nhalf",
        b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"Content-Length: 9\r\n\r\n",
    ],
)
@pytest.mark.parametrize("how", ["close", "reset", "exit", "half"])
async def test_answer_cut_short(raw: Emulator, wire: Wire, begun: bytes, how: str) -> None:
    """If the function disconnects in the middle of an answer, the answer is cut, and never looks complete."""
    target = say(b"HTTP/1.1 200 OK\r\n" + begun, how)
    await wire.send(request(target))
    rest = await wire.at_end()
    assert not rest.endswith(b"0\r\n\r\n")
    assert (await ended(raw, target)).closed_by == "error"


# ---- redirects, APK, CORS


@pytest.mark.parametrize(
    ("location", "passes"),
    [
        (b"/other", True), (b"other?x", True), (b"http://fn.localhost/x", True), (b"?x", True),
        (b"https://example.com/", False), (b"//example.com/", False), (b"http://fn.localhost@example.com/", False),
        (b"http://[", False),
    ],
)  # fmt: skip
async def test_redirect(raw: Emulator, location: bytes, passes: bool) -> None:
    """A redirect to another host is forbidden on the default domain and passes on a custom one."""
    target = say(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %b\r\n\r\n" % location)
    answer = await ask(raw, request(target))
    if passes:
        assert (answer.status, answer.values("location")) == (302, [location.decode()])
    else:
        assert (answer.status, answer.code) == (400, "ExternalRedirectForbidden")
        assert answer.json["Message"] == "The external redirect is forbidden, please use custom domain endpoint"
    answer = await ask(raw, request(target, host=SHOP))
    assert (answer.status, answer.values("location")) == (302, [location.decode()])


async def test_apk(raw: Emulator) -> None:
    """An APK is forbidden on the public default domain and passes on a custom one."""
    target = say(
        b"HTTP/1.1 200 OK\r\nContent-Type: Application/vnd.android.package-archive\r\nContent-Length: 1\r\n\r\na"
    )
    answer = await ask(raw, request(target))
    assert (answer.status, answer.code) == (400, "ApkDownloadForbidden")
    assert (await ask(raw, request(target, host=SHOP))).body == b"a"


async def test_preflight(raw: Emulator) -> None:
    """A preflight is answered by the gateway when the trigger's methods lack OPTIONS."""
    answer = await ask(
        raw,
        request(
            "/",
            b"Origin: https://a.test",
            b"Access-Control-Request-Method: PUT",
            b"Access-Control-Request-Headers: x-a,x-b",
            method="OPTIONS",
        ),
    )
    assert (answer.status, answer.body) == (200, b"")
    cors = {name: value for name, value in answer.headers if name.startswith("Access-Control")}
    assert cors == {
        "Access-Control-Allow-Origin": "https://a.test",
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": "Date,x-fc-request-id",
        "Access-Control-Allow-Methods": "PUT",
        "Access-Control-Allow-Headers": "x-a,x-b",
        "Access-Control-Max-Age": "3600",
    }
    assert (await ask(raw, request("/seen"))).json == []


async def test_preflight_of_a_function_with_options(serve: Serve) -> None:
    """A preflight goes to the function when the trigger's methods have OPTIONS."""
    emulator = await serve(function("raw.py", triggerConfig={"methods": ["GET", "OPTIONS"]}))
    fields = (b"Origin: https://a.test", b"Access-Control-Request-Method: PUT")
    line, _ = seen(await ask(emulator, request("/x", *fields, method="OPTIONS")))
    assert line == "OPTIONS /x HTTP/1.1"


async def test_cors_defaults(raw: Emulator) -> None:
    """A request with an Origin gets the default headers, unless the function has set its own."""
    answer = await ask(raw, request("/", b"Origin: https://a.test"))
    assert answer.values("access-control-allow-origin") == ["https://a.test"]
    assert answer.values("access-control-allow-credentials") == ["true"]
    own = b"Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: X\r\nContent-Length: 0\r\n\r\n"
    answer = await ask(raw, request(say(b"HTTP/1.1 200 OK\r\n" + own), b"Origin: https://a.test"))
    assert answer.values("access-control-allow-origin") == ["*"]
    assert answer.values("access-control-allow-credentials") == []
    assert answer.values("access-control-expose-headers") == ["X"]


# ---- connections


async def test_keep_alive(wire: Wire) -> None:
    """One connection carries many requests, one after the other."""
    for number in range(20):
        await wire.send(request(f"/{number}", method="POST", body=b"x" * number))
        answer = await wire.answer()
        assert answer.json["head"].startswith(f"POST /{number} ")
        assert answer.values("connection") == []


async def test_pipelining(wire: Wire) -> None:
    """Requests sent at once are answered in their order."""
    await wire.send(b"".join(request(f"/{number}", method="POST", body=b"x" * number) for number in range(50)))
    for number in range(50):
        answer = await wire.answer()
        assert answer.json["head"].startswith(f"POST /{number} ")
        assert answer.json["body"] == "x" * number


async def test_pipelining_behind_a_refusal(wire: Wire) -> None:
    """A refused request does not disturb the pipelined one after it."""
    await wire.send(request("/no", method="OPTIONS") + request("/yes"))
    assert (await wire.answer()).code == "AccessDenied"
    assert (await wire.answer()).json["head"].startswith("GET /yes ")


async def test_connection_close(wire: Wire) -> None:
    """The connection ends after the answer when the client asks for it."""
    await wire.send(request("/", b"Connection: close"))
    assert (await wire.answer()).values("connection") == ["close"]
    assert await wire.at_end() == b""


async def test_client_of_http_1_0(wire: Wire) -> None:
    """A client of HTTP/1.0 needs no Host, gets no chunks and no interim answers, and its connection ends."""
    hint = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n"
    await wire.send(b"GET %b HTTP/1.0\r\n\r\n" % say(hint + chunks).encode())
    answer = await wire.answer()
    assert (answer.status, answer.body) == (200, b"hello")
    assert answer.values("transfer-encoding") == []
    assert answer.values("connection") == ["close"]


async def test_client_of_http_1_0_that_stays(wire: Wire) -> None:
    """A client of HTTP/1.0 can ask for its connection to stay."""
    for _ in range(2):
        await wire.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        answer = await wire.answer()
        line, _pairs = seen(answer)
        assert line == "GET / HTTP/1.1"
        assert answer.values("connection") == ["keep-alive"]


async def test_function_of_http_1_0(raw: Emulator, wire: Wire) -> None:
    """A function that speaks HTTP/1.0 and closes after each answer serves every request."""
    target = say(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "close")
    for _ in range(20):
        await wire.send(request(target, method="POST", body=b"x"))
        assert (await wire.answer()).body == b"ok"


async def test_answer_before_the_body(raw: Emulator, wire: Wire) -> None:
    """An answer that does not wait for the body arrives, and the connection ends with it."""
    await wire.send(request("/early", b"Content-Length: 1000000", method="POST") + b"some")
    answer = await wire.answer()
    assert (answer.status, answer.body, answer.values("connection")) == (200, b"early", ["close"])


# ---- limits


def pad(size: int, *, fields: bytes = HOST) -> bytes:
    """A header that fills the headers up to `size` bytes of names and values."""
    used = len(fields.replace(b": ", b"").replace(b"\r\n", b""))
    return b"X-Pad: " + b"a" * (size - used - len(b"X-Pad"))


async def test_header_limit(raw: Emulator) -> None:
    """Names and values of 8 KB together pass, one byte more is refused, and so is much more."""
    assert (await ask(raw, request("/", pad(8192)))).status == 200
    for size in (8193, 60_000, 100_000):
        answer = await ask(raw, request("/", pad(size)))
        assert (answer.status, answer.code) == (400, "InvalidArgument")
        assert answer.values("x-fc-error-type") == ["FCCommonError"]
    assert len((await ask(raw, request("/seen"))).json) == 1


async def test_target_limit(raw: Emulator) -> None:
    """A path and query of 4 KB pass, one byte more is refused, and so is much more."""
    assert (await ask(raw, request("/?" + "a" * 4094))).status == 200
    for size in (4095, 60_000, 100_000):
        answer = await ask(raw, request("/?" + "a" * size))
        assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert len((await ask(raw, request("/seen"))).json) == 1


async def test_announced_body_limit(raw: Emulator, wire: Wire) -> None:
    """A length over 32 MB is refused before any of the body is read, and the function gets no request."""
    await wire.send(request("/x", b"Content-Length: %d" % (32 * MB + 1), method="POST"))
    answer = await wire.answer()
    assert (answer.status, answer.code, answer.values("connection")) == (400, "InvalidArgument", ["close"])
    assert (await ask(raw, request("/seen"))).json == []


async def test_body_of_the_limit(raw: Emulator) -> None:
    """A body of exactly 32 MB passes."""
    assert (await ask(raw, request("/feed/a", method="POST", body=bytes(32 * MB)))).json[0] == 32 * MB


async def test_chunked_body_over_the_limit(raw: Emulator, wire: Wire) -> None:
    """A chunked body is refused as soon as it exceeds 32 MB."""
    await wire.send(request("/feed/a", b"Transfer-Encoding: chunked", method="POST"))
    for _ in range(32):
        await wire.send(b"%x\r\n%b\r\n" % (MB, bytes(MB)))
    assert (await ask(raw, request(f"/fed/a?{32 * MB}"))).json == 32 * MB
    await wire.send(b"1\r\na\r\n")
    answer = await wire.answer()
    assert (answer.status, answer.code, answer.values("connection")) == (400, "InvalidArgument", ["close"])


async def test_chunked_body_over_the_limit_behind_an_answer(raw: Emulator, wire: Wire) -> None:
    """A body that exceeds the limit while its answer is being sent cuts the answer."""
    await wire.send(request("/hang/a?begun", b"Transfer-Encoding: chunked", method="POST"))
    assert (await wire.head()).status == 200
    try:
        for _ in range(33):
            await wire.send(b"%x\r\n%b\r\n" % (MB, bytes(MB)))
    except ConnectionError:
        pass
    assert await wire.at_end() in (b"half", b"")
    record = await ended(raw, "/hang/a?begun")
    assert (record.error_code, record.closed_by) == ("InvalidArgument", "error")


# ---- ends


@pytest.fixture
async def single(serve: Serve) -> Emulator:
    """A function with one instance, which takes one request at a time."""
    return await serve(function("raw.py", instanceConcurrency=1), quotas={"instances": 1})


@pytest.mark.parametrize("upload", [False, True])
async def test_client_that_leaves_before_an_answer(serve: Serve, upload: bool) -> None:
    """A client that disconnects ends the invocation: the function's connection is closed, and 499 is recorded."""
    emulator = await serve(function("raw.py"))
    async with await Wire.open(emulator) as wire:
        fields = (b"Content-Length: 100",) if upload else ()
        await wire.send(request("/hang/a", *fields, method="POST") + (b"some" if upload else b""))
        assert (await ask(emulator, request("/waits/a"))).status == 200
    assert (await ask(emulator, request("/gone/a"))).status == 200
    record = await ended(emulator, "/hang/a")
    assert (record.status, record.closed_by, record.error) == (499, "client", "Invocation canceled by client")


async def test_client_that_leaves_gives_its_slot_back(single: Emulator) -> None:
    """The slot of a client that disconnected is free again; at concurrency 1 in a new instance, as in the cloud."""
    async with await Wire.open(single) as wire:
        await wire.send(request("/hang/a?begun"))
        assert (await wire.head()).status == 200
    record = await ended(single, "/hang/a?begun")
    assert (record.status, record.closed_by) == (200, "client")
    assert (await ask(single, request())).status == 200
    assert len(started(single)) == 2


async def test_client_that_leaves_while_it_waits_for_a_slot(serve: Serve) -> None:
    """A client that disconnects during a cold start no longer waits for an instance."""
    emulator = await serve(function("raw.py", instanceConcurrency=1), start="lazy")
    async with await Wire.open(emulator) as wire:
        await wire.send(request("/early-leave"))
        while not any(isinstance(record, InstanceChanged) for record in emulator.journal.records):
            await asyncio.sleep(0)
    record = await ended(emulator, "/early-leave")
    assert (record.status, record.closed_by, record.billed_ms) == (499, "client", 0)
    assert (await ask(emulator, request("/seen"))).json == []


async def test_client_that_leaves_a_stream(raw: Emulator) -> None:
    """A client that disconnects in the middle of a stream ends the invocation."""
    async with await Wire.open(raw) as wire:
        await wire.send(request("/events/a"))
        assert (await wire.head()).status == 200
        assert await wire.chunk() == b"data: 0\n\n"
    record = await ended(raw, "/events/a")
    assert (record.status, record.closed_by) == (200, "client")


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_instance_that_dies(single: Emulator, method: str) -> None:
    """If an instance exits before it has answered, the answer is 502, and the next request starts another instance."""
    target = say(b"", "exit")
    answer = await ask(single, request(target, method=method))
    assert (answer.status, answer.code) == (502, "FunctionUnhandledError")
    text = r"Process exited unexpectedly before completing request \(duration: \d+ms, maxMemoryUsage: \d+\.\d\dMB\)"
    assert re.fullmatch(text, answer.json["Message"])
    assert answer.values("x-fc-error-type") == ["UnhandledInvocationError"]
    record = await ended(single, target)
    assert (record.status, record.error) == (502, answer.json["Message"])
    assert "exited with code 3" in (record.reason or "")
    assert (await ask(single, request())).status == 200
    assert len(started(single)) == 2


async def test_instance_that_dies_behind_its_head(single: Emulator) -> None:
    """If an instance exits in the middle of its answer, the answer is cut, and the next request starts another one."""
    async with await Wire.open(single) as own:
        await own.send(request(say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "exit")))
        assert (await own.at_end()).count(b"HTTP/1.1") <= 1
    assert (await ask(single, request())).status == 200
    assert len(started(single)) == 2


async def test_broken_connection_is_tried_again(raw: Emulator) -> None:
    """A GET is sent again if its connection breaks before an answer; a POST, or a GET with a body, is not."""
    assert (await ask(raw, request("/drop/get"))).json == 2
    answer = await ask(raw, request("/drop/post", method="POST"))
    assert (answer.status, answer.code) == (502, "FunctionUnhandledError")
    answer = await ask(raw, request("/drop/body", body=b"x"))
    assert answer.status == 502
    arrived = [item["head"].split(" ")[1] for item in (await ask(raw, request("/seen"))).json]
    assert arrived == ["/drop/get", "/drop/get", "/drop/post", "/drop/body"]


async def test_client_that_leaves_a_broken_exchange(raw: Emulator) -> None:
    """A client that disconnects while the gateway finds out why the function's connection broke is recorded as 499."""
    async with await Wire.open(raw) as wire:
        await wire.send(request("/drop/a", method="POST"))
        while not (await ask(raw, request("/seen"))).json:
            pass
    record = await ended(raw, "/drop/a")
    assert (record.status, record.closed_by) == (499, "client")


async def test_broken_connection_is_tried_once(raw: Emulator) -> None:
    """If the connection breaks a second time, the answer is 502."""
    target = say(b"", "close")
    assert (await ask(raw, request(target))).status == 502
    assert len((await ask(raw, request("/seen"))).json) == 2


async def test_begun_answer_is_not_tried_again(raw: Emulator, wire: Wire) -> None:
    """A connection that breaks in the middle of its answer, or of its head, is not tried again."""
    await wire.send(request("/drop/a?begun"))
    assert (await wire.at_end()).endswith(b"half")
    assert (await ask(raw, request(say(b"HTTP/1.1 200 OK\r\nX-", "close")))).status == 502
    assert len((await ask(raw, request("/seen"))).json) == 2


# ---- the execution timeout


async def test_timeout_before_an_answer(serve: Serve) -> None:
    """The execution timeout is answered with 502, and the instance is replaced."""
    emulator = await serve(function("raw.py", instanceConcurrency=1, timeout=1))
    answer = await ask(emulator, request("/hang/a"))
    assert (answer.status, answer.code) == (502, "FunctionTimeoutError")
    assert re.fullmatch(r"Function timed out after 1 seconds \(maxMemoryUsage: \d+\.\d\dMB\)", answer.json["Message"])
    assert answer.values("x-fc-error-type") == ["UnhandledInvocationError"]
    record = await ended(emulator, "/hang/a")
    assert (record.status, record.closed_by, record.error) == (502, "timeout", answer.json["Message"])
    assert (await ask(emulator, request())).status == 200
    assert len(started(emulator)) == 2


async def test_timeout_of_one_among_others(serve: Serve) -> None:
    """An instance that serves other requests survives the timeout of one of them."""
    emulator = await serve(function("raw.py", timeout=1))
    answer = await ask(emulator, request("/hang/a", method="POST", body=b"x"))
    assert answer.code == "FunctionTimeoutError"
    assert (await ask(emulator, request("/gone/a"))).status == 200
    assert len(started(emulator)) == 1


async def test_timeout_of_a_begun_answer(serve: Serve) -> None:
    """An answer that is being sent at the deadline is cut."""
    emulator = await serve(function("raw.py", instanceConcurrency=1, timeout=1))
    async with await Wire.open(emulator) as wire:
        await wire.send(request("/hang/a?begun"))
        assert (await wire.head()).status == 200
        assert await wire.at_end() == b"half"
    record = await ended(emulator, "/hang/a?begun")
    assert (record.status, record.closed_by, record.error_code) == (200, "timeout", "FunctionTimeoutError")
    assert (await ask(emulator, request())).status == 200


async def test_timeout_of_an_upload(serve: Serve) -> None:
    """An upload that is incomplete at the deadline is answered with 502, and the connection ends."""
    emulator = await serve(function("raw.py", timeout=1))
    async with await Wire.open(emulator) as wire:
        await wire.send(request("/feed/a", b"Content-Length: 10", method="POST") + b"some")
        answer = await wire.answer()
        assert (answer.code, answer.values("connection")) == ("FunctionTimeoutError", ["close"])
