"""WebSockets pass through unchanged, and end when and as the cloud ends them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from fcemu.clock import Due, SystemClock, Timer
from fcemu.emulator import Emulator
from fcemu.gateway import forward
from fcemu.gateway.upstream import Upstream
from fcemu.journal import InvocationEnded, InvocationStarted, LogLine, Record
from fcemu.model import Account, Settings
from tests.conftest import Serve, function
from tests.served import uncollected

MASK = bytes(4)
"""A masking key that leaves the payload readable in the test."""

MIB = 1024 * 1024
CLOSE_1000 = b"\x88\x82" + MASK + b"\x03\xe8"


class SteeredClock:
    """The machine's clock, which a test can advance."""

    def __init__(self) -> None:
        self._real = SystemClock()
        self._ahead = 0.0
        self._due: dict[int, tuple[float, Due, Timer]] = {}
        self._count = 0

    def now(self) -> float:
        return self._real.now() + self._ahead

    def wall_now(self) -> float:
        return self._real.wall_now() + self._ahead

    def call_at(self, when: float, callback: Due) -> Timer:
        self._count += 1
        number = self._count

        def run() -> None:
            self._due.pop(number)
            callback()

        self._due[number] = when, run, self._real.call_at(when - self._ahead, run)
        clock = self

        class Due:
            def cancel(self) -> None:
                if number in clock._due:
                    clock._due.pop(number)[2].cancel()

        return Due()

    def advance(self, seconds: float) -> None:
        """Advance the clock, and run what becomes due."""
        self._ahead += seconds
        for number, (when, run, timer) in list(self._due.items()):
            timer.cancel()
            if when <= self.now():
                run()
            else:
                self._due[number] = when, run, self._real.call_at(when - self._ahead, run)


@pytest.fixture
async def clock() -> SteeredClock:
    return SteeredClock()


# ---- clients


def url(emulator: Emulator, path: str = "/") -> str:
    return f"ws://127.0.0.1:{emulator.port}{path}"


def client(emulator: Emulator, path: str = "/", **options: Any) -> connect:
    """The `websockets` client, without automatic pings."""
    options = {"ping_interval": None, "max_size": None, "proxy": None, "open_timeout": 60, **options}
    return connect(url(emulator, path), **options)


class RawClient:
    """A client that writes and reads bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = (line.partition(": ") for line in lines[1:] if line)
        return int(lines[0].split(" ")[1]), {name.lower(): value for name, _, value in fields}

    async def response(self) -> tuple[int, bytes]:
        status, fields = await self.head()
        return status, await self.reader.readexactly(int(fields["content-length"]))

    async def rest(self) -> bytes:
        """Everything until the connection ends, in any way."""
        data = bytearray()
        with contextlib.suppress(ConnectionError):
            while block := await self.reader.read(65536):
                data += block
        return bytes(data)

    def reset(self) -> None:
        """End the connection with RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@contextlib.asynccontextmanager
async def raw(emulator: Emulator, *, receive_buffer: int = 0, limit: int = 65536) -> AsyncIterator[RawClient]:
    """A TCP connection to the front."""
    sock = socket.socket()
    sock.setblocking(False)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", emulator.port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=limit)
    try:
        yield RawClient(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def handshake(path: str, *lines: str, connection: tuple[str, ...] = ("Upgrade",)) -> bytes:
    return "\r\n".join(
        [
            f"GET {path} HTTP/1.1",
            "Host: fn.localhost",
            "Upgrade: websocket",
            *(f"Connection: {value}" for value in connection),
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            *lines,
            "",
            "",
        ]
    ).encode()


@contextlib.asynccontextmanager
async def opened(emulator: Emulator, path: str, behind: bytes = b"", **options: Any) -> AsyncIterator[RawClient]:
    """A raw client whose handshake was accepted."""
    async with raw(emulator, **options) as peer:
        await peer.send(handshake(path) + behind)
        status, _ = await peer.head()
        assert status == 101
        yield peer


async def ask(emulator: Emulator, target: str) -> Any:
    """Ask rawsocket.py about its connections."""
    async with raw(emulator) as peer:
        await peer.send(f"GET {target} HTTP/1.1\r\nHost: fn.localhost\r\n\r\n".encode())
        status, body = await peer.response()
        assert status == 200, body
        return json.loads(body)


# ---- what was recorded


async def recorded(emulator: Emulator, wanted: Callable[[Record], bool]) -> Any:
    """The first record that matches, now or later."""
    for record in emulator.journal.records:
        if wanted(record):
            return record
    found: asyncio.Future[Record] = asyncio.get_running_loop().create_future()

    def look(record: Record) -> None:
        if wanted(record) and not found.done():
            found.set_result(record)

    unsubscribe = emulator.journal.subscribe(look)
    try:
        return await found
    finally:
        unsubscribe()


def is_socket(record: Record) -> bool:
    return isinstance(record, InvocationEnded) and record.kind == "websocket"


async def socket_end(emulator: Emulator) -> InvocationEnded:
    """The record of the (only) socket's end."""
    record = await recorded(emulator, is_socket)
    assert isinstance(record, InvocationEnded)
    return record


async def printed(emulator: Emulator, pattern: str) -> str:
    """A line of the function's output."""
    line = await recorded(emulator, lambda r: isinstance(r, LogLine) and re.search(pattern, r.text) is not None)
    assert isinstance(line, LogLine)
    return line.text


async def eventually(condition: Callable[[], bool]) -> None:
    """Poll until a condition is true; the test's own timeout limits the wait."""
    while not condition():
        await asyncio.sleep(0.01)


def tunnels(emulator: Emulator) -> Any:
    assert "" in emulator._gateways
    return emulator._gateways[""]._tunnels


def http_connections(emulator: Emulator) -> Any:
    """The connections in their HTTP phase."""
    assert "" in emulator._gateways
    return emulator._gateways[""].connections


async def closing(websocket: ClientConnection) -> tuple[int | None, str | None]:
    """The end of the socket, as the client's library reports it."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            await websocket.recv()
    await websocket.wait_closed()
    return websocket.close_code, websocket.close_reason


def before_splice(monkeypatch: pytest.MonkeyPatch, step: Callable[[Upstream], Awaitable[None]]) -> None:
    """Run code in the front after the instance's answer to an upgrade, before the gateway handles it."""
    original = forward.open_exchange

    async def open_exchange(*args: Any) -> Any:
        answer = await original(*args)
        if args[0].head.is_websocket:
            await step(answer[0])
        return answer

    monkeypatch.setattr(forward, "open_exchange", open_exchange)


# ---- messages


@pytest.mark.parametrize(
    "message",
    ["hello", "", "你好 👋", b"", b"\x00\xff" * 100, "x" * 126, "x" * 65536, b"0123456789abcdef" * (20 * MIB // 16)],
    ids=["text", "empty text", "unicode", "empty binary", "binary", "16-bit length", "64-bit length", "20 MB"],
)
async def test_message_comes_back(serve: Serve, message: str | bytes) -> None:
    """The emulator passes a message of any kind and size both ways."""
    emulator = await serve(function())
    async with client(emulator) as websocket:
        await websocket.send(message)
        assert await websocket.recv() == message


async def test_fragments_reach_the_function_as_sent(serve: Serve) -> None:
    """The emulator forwards fragments, reserved bits and control frames between them byte by byte."""
    emulator = await serve(function("rawsocket.py"))
    frames = (
        b"\x01\x83" + MASK + b"one"  # text, not final
        b"\x89\x80" + MASK + b""  # a ping in the middle
        b"\x00\x80" + MASK + b""  # an empty continuation
        b"\x80\xfe\x00\x05" + MASK + b"three"  # final, its length not in the shortest form
        b"\xc2\x81" + MASK + b"\xff"  # RSV1, as compression sets it
    )
    async with opened(emulator, "/echo") as peer:
        await peer.send(frames)
        assert await peer.reader.readexactly(len(frames)) == frames


async def test_fragmented_message(serve: Serve) -> None:
    """The function's library puts together a message that the client's library sent in fragments."""
    emulator = await serve(function("chat.py"))
    async with client(emulator) as websocket:
        await websocket.send(["one ", "two ", "", "three"])
        assert await websocket.recv() == "one two three"


async def test_ping_from_client(serve: Serve) -> None:
    """The function answers the client's ping, with its payload."""
    emulator = await serve(function())
    async with client(emulator) as websocket:
        pong = await websocket.ping(b"are you there")
        await pong


async def test_ping_from_function(serve: Serve) -> None:
    """The client answers the function's ping, with its payload."""
    emulator = await serve(function("chat.py"))
    async with client(emulator) as websocket:
        await websocket.send("ping abc")
        assert await websocket.recv() == "ponged"


async def test_subprotocol(serve: Serve) -> None:
    """Client and function negotiate the subprotocol: the function's choice among the client's offers."""
    emulator = await serve(function("chat.py"))
    async with client(emulator, subprotocols=["soap", "chat", "json"]) as websocket:
        assert websocket.subprotocol == "json"  # the server's preference
        assert "subprotocol=json" in await printed(emulator, "^open")


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_compression(serve: Serve, compression: str | None) -> None:
    """Client and function negotiate permessage-deflate, or none, among themselves."""
    emulator = await serve(function("chat.py"))
    async with client(emulator, compression=compression) as websocket:
        names = [extension.name for extension in websocket.protocol.extensions]
        assert names == (["permessage-deflate"] if compression else [])
        assert (await printed(emulator, "^open")).endswith("extensions=" + ",".join(names))
        for _ in range(3):  # with context takeover a lost or doubled byte would show
            await websocket.send("compress me " * 1000)
            assert await websocket.recv() == "compress me " * 1000


# ---- the handshake


@pytest.mark.parametrize(
    "connection",
    [("Upgrade",), ("keep-alive, Upgrade",), ("upgrade",), ("keep-alive", "Upgrade")],
    ids=["plain", "Firefox", "lower case", "two lines"],
)
async def test_spelling_of_the_upgrade(serve: Serve, connection: tuple[str, ...]) -> None:
    """The emulator accepts every spelling of `Connection: Upgrade`, also with early bytes."""
    emulator = await serve(function("rawsocket.py"))
    async with raw(emulator) as peer:
        await peer.send(handshake("/echo", connection=connection) + b"early")
        status, fields = await peer.head()
        assert (status, fields["sec-websocket-accept"]) == (101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        assert await peer.reader.readexactly(5) == b"early"
        await peer.send(b"late")
        assert await peer.reader.readexactly(4) == b"late"


async def test_handshake_in_pieces(serve: Serve) -> None:
    """The emulator accepts a handshake that comes byte by byte."""
    emulator = await serve(function("rawsocket.py"))
    async with raw(emulator) as peer:
        for byte in handshake("/echo"):
            await peer.send(bytes([byte]))
            await asyncio.sleep(0)
        status, _ = await peer.head()
        assert status == 101


async def test_request_id_on_the_101(serve: Serve) -> None:
    """The 101 carries the request id under which the journal records the socket."""
    emulator = await serve(function("rawsocket.py"))
    async with raw(emulator) as peer:
        await peer.send(handshake("/echo"))
        _, fields = await peer.head()
    assert fields["x-fc-request-id"] == (await socket_end(emulator)).request_id


@pytest.mark.parametrize("size", [1, 1000, 70_000, MIB], ids=["1 B", "1 KB", "70 KB", "1 MiB"])
async def test_bytes_with_the_handshake_reach_the_function(serve: Serve, size: int) -> None:
    """The function gets what the client sent in one go with its handshake."""
    emulator = await serve(function("rawsocket.py"))
    data = os.urandom(size)
    async with opened(emulator, "/listen?key=k", data) as peer:
        peer.writer.write_eof()
        state = await ask(emulator, "/ended?key=k")
        assert (state["received"], state["sha256"]) == (size, hashlib.sha256(data).hexdigest())


async def test_bytes_before_a_late_101_reach_the_function(serve: Serve) -> None:
    """The function gets 1 MiB that the client sent before the function answered."""
    emulator = await serve(function("rawsocket.py"))
    data = os.urandom(MIB)
    async with raw(emulator) as peer:
        peer.writer.write(handshake("/held?key=k") + data[:1000])
        await ask(emulator, "/started?key=k")
        peer.writer.write(data[1000:])
        # Until the front takes no more: it keeps some of it, the rest waits in the sockets.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(peer.writer.drain(), 0.2)
        await ask(emulator, "/release?key=k")
        status, _ = await peer.head()
        assert status == 101
        await peer.writer.drain()
        peer.writer.write_eof()
        state = await ask(emulator, "/ended?key=k")
        assert (state["received"], state["sha256"]) == (MIB, hashlib.sha256(data).hexdigest())


async def test_bytes_with_the_101_reach_the_client(serve: Serve) -> None:
    """The client gets what the function sent in one go with its 101."""
    emulator = await serve(function("rawsocket.py"))
    async with opened(emulator, f"/hello?key=k&size={MIB}") as peer:
        data = await peer.reader.readexactly(MIB)
        state = await ask(emulator, "/state?key=k")
        assert hashlib.sha256(data).hexdigest() == state["sha256"]


async def test_message_with_the_101(serve: Serve) -> None:
    """A client's library reads a message that came with the 101."""
    emulator = await serve(function("rawsocket.py"))
    async with client(emulator, "/say?hex=81026869") as websocket:
        assert await websocket.recv() == "hi"


async def test_function_that_ends_with_its_101(serve: Serve) -> None:
    """The client gets the last bytes of a function that accepts, writes and closes at once; the slot is freed."""
    emulator = await serve(function("rawsocket.py"))
    for _ in range(20):  # whether the end comes with the 101 or just behind it is chance
        async with opened(emulator, "/say-and-end?hex=" + b"that is all".hex()) as peer:
            assert await peer.rest() == b"that is all"
    await eventually(lambda: not tunnels(emulator))
    ends = [r for r in emulator.journal.records if is_socket(r)]
    assert {(r.close_code, r.closed_by) for r in ends if isinstance(r, InvocationEnded)} == {(1006, "function")}


async def test_function_that_ended_before_its_101_was_seen(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the function closes while the front handles its 101, the socket still ends."""

    async def seen_late(upstream: Upstream) -> None:
        await eventually(upstream.transport.is_closing)
        for _ in range(10):  # its connection_lost has been called by then
            await asyncio.sleep(0)

    emulator = await serve(function("rawsocket.py"))
    before_splice(monkeypatch, seen_late)
    async with opened(emulator, "/say-and-end?hex=" + b"that is all".hex(), b"early") as peer:
        assert await peer.rest() == b"that is all"
    record = await socket_end(emulator)
    assert (record.close_code, record.closed_by) == (1006, "function")


async def test_second_request_before_the_upgrade(serve: Serve) -> None:
    """A connection that has carried plain requests can be upgraded, also with pipelining."""
    emulator = await serve(function("rawsocket.py"))
    async with raw(emulator) as peer:
        await peer.send(b"GET /heads HTTP/1.1\r\nHost: fn.localhost\r\n\r\n" + handshake("/echo") + b"early")
        assert (await peer.response())[0] == 200
        assert (await peer.head())[0] == 101
        assert await peer.reader.readexactly(5) == b"early"


async def test_unasked_101(serve: Serve) -> None:
    """The emulator answers 502 when a function switches protocols on a plain request."""
    emulator = await serve(function("rawsocket.py"))
    async with raw(emulator) as peer:
        await peer.send(b"GET /switch HTTP/1.1\r\nHost: fn.localhost\r\n\r\n")
        status, body = await peer.response()
        assert (status, json.loads(body)["Code"]) == (502, "BadResponse")


async def test_upgrade_with_a_body(serve: Serve) -> None:
    """An upgrade request with a body reaches the function as a plain request, its body intact."""
    emulator = await serve(function())
    async with raw(emulator) as peer:
        await peer.send(handshake("/", "Content-Length: 5") + b"hello")
        status, body = await peer.response()
        assert (status, json.loads(body)["body"]) == (200, "hello")


# ---- refusals


@pytest.mark.parametrize("status", [200, 400, 403, 404])
async def test_refusal_of_the_function(serve: Serve, status: int) -> None:
    """The client gets the function's own answer to an upgrade, and can use the connection again."""
    emulator = await serve(function("rawsocket.py"))
    async with raw(emulator) as peer:
        await peer.send(handshake(f"/refuse?status={status}&body=because"))
        assert await peer.response() == (status, b"because")
        await peer.send(handshake("/echo") + b"now it works")
        assert (await peer.head())[0] == 101
        assert await peer.reader.readexactly(12) == b"now it works"
    record = await recorded(emulator, lambda r: isinstance(r, InvocationEnded))
    assert (record.kind, record.status, record.error_code, record.close_code) == ("http", status, None, None)


async def test_refusal_as_a_client_library_sees_it(serve: Serve) -> None:
    """A client's library reports status and body of the function's refusal."""
    emulator = await serve(function())
    with pytest.raises(InvalidStatus) as caught:
        await client(emulator, "/refuse")
    assert (caught.value.response.status_code, caught.value.response.body) == (404, b"no such room")


async def test_frames_behind_a_refused_handshake(serve: Serve) -> None:
    """The instance never gets frames of a refused handshake as a request."""
    emulator = await serve(function("rawsocket.py"))
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: fn.localhost\r\n\r\n"
    async with raw(emulator) as peer:
        frame = b"\x81" + bytes([0x80 | len(smuggled)]) + MASK + smuggled
        await peer.send(handshake("/refuse?status=404&body=no") + frame)
        assert await peer.response() == (404, b"no")
        assert (await peer.response())[0] == 400
        assert await peer.rest() == b""
    assert await ask(emulator, "/heads") == ["GET /refuse?status=404&body=no HTTP/1.1", "GET /heads HTTP/1.1"]


async def refusal(emulator: Emulator) -> tuple[int, str]:
    """Status and error code of a refused handshake."""
    with pytest.raises(InvalidStatus) as caught:
        await client(emulator)
    body = caught.value.response.body
    assert body is not None
    return caught.value.response.status_code, json.loads(body)["Code"]


async def test_trigger_without_get(serve: Serve) -> None:
    """The emulator answers 403 where the trigger does not allow GET."""
    emulator = await serve(function(triggerConfig={"methods": ["POST"]}))
    assert await refusal(emulator) == (403, "AccessDenied")


async def test_disabled_internet_url(serve: Serve) -> None:
    """The emulator answers 403 where the trigger's internet URL is disabled."""
    emulator = await serve(function(triggerConfig={"disableURLInternet": True}))
    assert await refusal(emulator) == (403, "AccessDenied")


async def test_function_that_cannot_start(serve: Serve) -> None:
    """The emulator answers 412 where the function does not start."""
    emulator = await serve(function(customRuntimeConfig={"command": ["false"]}), start="lazy")
    assert await refusal(emulator) == (412, "CAExited")


async def test_no_free_slot(serve: Serve) -> None:
    """The emulator answers 429 while all slots are taken, and admits the next client when one is free again."""
    emulator = await serve(function(instanceConcurrency=1), quotas={"instances": 1})
    async with client(emulator):
        assert await refusal(emulator) == (429, "ResourceExhausted")
    await socket_end(emulator)
    async with client(emulator) as websocket:
        await websocket.send("in")
        assert await websocket.recv() == "in"


async def test_unanswered_upgrade(serve: Serve) -> None:
    """The emulator answers 502 where the function has not answered the upgrade by the deadline."""
    emulator = await serve(function("rawsocket.py", timeout=1))
    async with raw(emulator) as peer:
        await peer.send(handshake("/never?key=k") + b"early")
        status, body = await peer.response()
        assert (status, json.loads(body)["Code"]) == (502, "FunctionTimeoutError")
    assert (await ask(emulator, "/ended?key=k"))["ending"] in ("eof", "reset")
    record = await recorded(emulator, lambda r: isinstance(r, InvocationEnded))
    assert (record.kind, record.closed_by, record.close_code) == ("http", "timeout", None)


# ---- the end


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
async def test_close_by_the_client(serve: Serve, code: int) -> None:
    """The function gets the client's code and reason, and the journal says that the client closed."""
    emulator = await serve(function("chat.py"))
    async with client(emulator) as websocket:
        await websocket.close(code, "так надо")
        assert websocket.close_code == code
    assert await printed(emulator, "^closed") == f"closed {code} так надо"
    record = await socket_end(emulator)
    assert (record.status, record.close_code, record.closed_by) == (101, code, "client")


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
async def test_close_by_the_function(serve: Serve, code: int) -> None:
    """The client gets the function's code and reason, and the journal says that the function closed."""
    emulator = await serve(function("chat.py"))
    async with client(emulator) as websocket:
        await websocket.send(f"close {code} так надо")
        assert await closing(websocket) == (code, "так надо")
    record = await socket_end(emulator)
    assert (record.status, record.close_code, record.closed_by) == (101, code, "function")


async def test_close_without_code_by_the_client(serve: Serve) -> None:
    """The journal says 1005 for a client's Close frame without a code."""
    emulator = await serve(function("chat.py"))
    async with opened(emulator, "/") as peer:
        await peer.send(b"\x88\x80" + MASK)
        assert await peer.rest() == b"\x88\x00"
    record = await socket_end(emulator)
    assert (record.close_code, record.closed_by) == (1005, "client")


async def test_close_without_code_by_the_function(serve: Serve) -> None:
    """The client and the journal say 1005 for a function's Close frame without a code."""
    emulator = await serve(function("rawsocket.py"))
    async with client(emulator, "/say?hex=8800") as websocket:
        assert await closing(websocket) == (1005, "")
    record = await socket_end(emulator)
    assert (record.close_code, record.closed_by) == (1005, "function")


async def test_close_in_pieces(serve: Serve) -> None:
    """The journal knows the code of a Close frame that came byte by byte."""
    emulator = await serve(function("rawsocket.py"))
    async with opened(emulator, "/echo") as peer:
        for byte in b"\x81\x81" + MASK + b"x" + CLOSE_1000:
            await peer.send(bytes([byte]))
            assert await peer.reader.readexactly(1) == bytes([byte])
    record = await socket_end(emulator)
    assert (record.close_code, record.closed_by) == (1000, "client")


async def test_client_that_drops_the_connection(serve: Serve) -> None:
    """The journal says 1006 by the client if it disconnected without a Close frame."""
    emulator = await serve(function("rawsocket.py"))
    async with opened(emulator, "/listen?key=k") as peer:
        await peer.send(b"\x81\x82" + MASK + b"hi")
    await ask(emulator, "/ended?key=k")
    record = await socket_end(emulator)
    assert (record.close_code, record.closed_by) == (1006, "client")


async def test_function_that_drops_the_connection(serve: Serve) -> None:
    """Client and journal say 1006, by the function, if it disconnected without a Close frame."""
    emulator = await serve(function("rawsocket.py"))
    async with client(emulator, "/quit") as websocket:
        await websocket.send("go")
        assert await closing(websocket) == (1006, "")
    record = await socket_end(emulator)
    assert (record.close_code, record.closed_by) == (1006, "function")


async def test_client_that_is_reset_after_the_function_left(serve: Serve) -> None:
    """The journal names the side that ended first, however the other one ends."""
    emulator = await serve(function("rawsocket.py"))
    async with opened(emulator, "/quit") as peer:
        await peer.send(b"x")
        assert await peer.rest() == b""
        peer.reset()
    record = await socket_end(emulator)
    assert (record.close_code, record.closed_by) == (1006, "function")


async def test_instance_that_dies(serve: Serve) -> None:
    """Client and journal say 1006, by the function, if its process exited; the next client gets a new instance."""
    emulator = await serve(function())
    async with client(emulator) as websocket:
        await websocket.send("exit")
        assert await closing(websocket) == (1006, "")
    record = await socket_end(emulator)
    assert (record.close_code, record.closed_by) == (1006, "function")
    await recorded(emulator, lambda r: getattr(r, "state", None) == "ended")
    async with client(emulator) as websocket:
        await websocket.send("again")
        assert await websocket.recv() == "again"


async def test_half_close_by_the_client(serve: Serve) -> None:
    """The function sees the end of a client's stream and can still answer."""
    emulator = await serve(function("rawsocket.py"))
    async with opened(emulator, "/echo?key=k") as peer:
        peer.writer.write(b"x" * MIB)
        peer.writer.write_eof()
        assert await peer.rest() == b"x" * MIB
    assert (await ask(emulator, "/ended?key=k"))["ending"] == "eof"


async def test_half_close_by_the_function(serve: Serve) -> None:
    """The client sees the end of the function's stream and can still send."""
    emulator = await serve(function("rawsocket.py"))
    async with opened(emulator, "/half-close?key=k") as peer:
        await peer.send(b"x")
        assert await peer.rest() == b"last words"
        await peer.send(b"still here")
        peer.writer.write_eof()
        state = await ask(emulator, "/ended?key=k")
        assert (state["received"], state["ending"]) == (10, "eof")
    record = await socket_end(emulator)
    assert (record.close_code, record.closed_by) == (1006, "function")


async def test_reset_by_the_client(serve: Serve) -> None:
    """The function's connection ends when the client's is reset, and the slot is free."""
    emulator = await serve(function("rawsocket.py", instanceConcurrency=1), quotas={"instances": 1})
    async with opened(emulator, "/listen?key=k") as peer:
        await peer.send(b"x")
        peer.reset()
    record = await socket_end(emulator)
    assert (record.close_code, record.closed_by) == (1006, "client")
    assert (await ask(emulator, "/ended?key=k"))["ending"] in ("eof", "reset")


async def test_reset_by_the_function(serve: Serve) -> None:
    """The client's connection ends when the function's is reset."""
    emulator = await serve(function("rawsocket.py"))
    async with opened(emulator, "/reset") as peer:
        await peer.send(b"x")
        assert await peer.rest() == b""
    record = await socket_end(emulator)
    assert (record.close_code, record.closed_by) == (1006, "function")


async def test_client_that_leaves_during_the_handshake(serve: Serve) -> None:
    """If the client disconnects before the 101, the function's connection ends, and no socket is recorded."""
    emulator = await serve(function("rawsocket.py"))
    async with raw(emulator) as peer:
        await peer.send(handshake("/never?key=k"))
        await ask(emulator, "/started?key=k")
        peer.reset()
    await ask(emulator, "/ended?key=k")
    record = await recorded(emulator, lambda r: isinstance(r, InvocationEnded) and "never" in r.target)
    assert (record.kind, record.status, record.closed_by) == ("http", 499, "client")


async def test_stop_with_open_sockets(serve: Serve) -> None:
    """Stopping the emulator closes open sockets and records them."""
    emulator = await serve(function("rawsocket.py"))
    async with contextlib.AsyncExitStack() as stack:
        # The first ten leave when their function does, the others hold on until they are cut.
        sockets = [await stack.enter_async_context(client(emulator, "/listen")) for _ in range(10)]
        peers = [await stack.enter_async_context(opened(emulator, "/listen")) for _ in range(10)]
        await emulator.stop()
        ends = [r for r in emulator.journal.records if isinstance(r, InvocationEnded)]
        assert [(r.close_code, r.closed_by) for r in ends] == [(1006, "shutdown")] * 20
        for websocket in sockets:
            assert await closing(websocket) == (1006, "")
        for peer in peers:
            assert await peer.rest() == b""


# ---- the deadline and other timers


async def test_timeout_cuts_without_a_word(serve: Serve) -> None:
    """The emulator cuts both sides at the timeout, without a single byte."""
    emulator = await serve(function("rawsocket.py", timeout=1))
    async with opened(emulator, "/listen?key=k") as peer:
        assert await peer.rest() == b""
    state = await ask(emulator, "/ended?key=k")
    assert (state["received"], state["ending"] in ("eof", "reset")) == (0, True)
    record = await socket_end(emulator)
    assert (record.status, record.close_code, record.closed_by) == (101, 1006, "timeout")
    assert record.error is not None
    assert record.error.startswith("Function timed out after 1 seconds")
    assert record.duration >= 1


async def test_timeout_as_a_client_library_sees_it(serve: Serve) -> None:
    """The client reports 1006 at the timeout, which regular pings do not postpone."""
    emulator = await serve(function("chat.py", timeout=1))
    async with client(emulator) as websocket:

        async def ping_steadily() -> None:
            while True:
                await (await websocket.ping())
                await asyncio.sleep(0.01)

        with pytest.raises(ConnectionClosed) as caught:
            await ping_steadily()
        assert caught.value.rcvd is None  # no Close frame
        assert websocket.close_code == 1006
    assert (await socket_end(emulator)).closed_by == "timeout"
    assert (await printed(emulator, "^closed")).startswith("closed 1006")


@contextlib.asynccontextmanager
async def steered(clock: SteeredClock, timeout: int) -> AsyncIterator[Emulator]:
    """An emulator whose clock the test advances."""
    settings = Settings(listen="127.0.0.1:0", stopGrace=1)
    account = Account(functions=[function("rawsocket.py", timeout=timeout)], fcemu=settings)
    async with Emulator(account, clock=clock) as emulator:
        yield emulator


async def alive(peer: RawClient) -> bool:
    """Whether an echoing function is still there."""
    await peer.send(b"?")
    return await peer.reader.read(1) == b"?"


async def test_timeout_counts_from_the_request(clock: SteeredClock) -> None:
    """The time that the function took to accept is part of its execution time."""
    async with steered(clock, timeout=1000) as emulator, raw(emulator) as peer:
        await peer.send(handshake("/held?key=k"))
        await ask(emulator, "/started?key=k")
        clock.advance(900)
        await ask(emulator, "/release?key=k")
        assert (await peer.head())[0] == 101
        clock.advance(50)
        await peer.send(b"still there")
        assert not peer.reader.at_eof()
        assert len(tunnels(emulator)) == 1
        clock.advance(50)
        assert await peer.rest() == b""
        assert (await socket_end(emulator)).closed_by == "timeout"


async def test_no_other_timer_touches_a_socket(clock: SteeredClock) -> None:
    """An idle socket stays open for the longest possible timeout, and ends then."""
    async with steered(clock, timeout=86400) as emulator, opened(emulator, "/echo") as peer:
        for _ in range(8):
            clock.advance(10_000)
            assert await alive(peer)
        clock.advance(6_400)
        assert await peer.rest() == b""
        assert (await socket_end(emulator)).closed_by == "timeout"


async def test_nothing_of_the_http_phase_is_left(serve: Serve) -> None:
    """The connection of an open socket has no task and no timer of HTTP left."""
    emulator = await serve(function("rawsocket.py"))
    async with raw(emulator) as peer:
        await peer.send(b"GET /heads HTTP/1.1\r\nHost: fn.localhost\r\n\r\n")
        await peer.response()
        (connection,) = http_connections(emulator)
        await peer.send(handshake("/echo"))
        assert (await peer.head())[0] == 101
        await eventually(lambda: not http_connections(emulator) and connection.task.done())
        assert connection.transport is None
        assert connection._lingers is None
        assert await alive(peer)


async def test_socket_leaves_nothing_for_the_collector(serve: Serve) -> None:
    """The objects of a socket are freed when it ends: no reference cycle keeps them until a garbage collection."""
    emulator = await serve(function("rawsocket.py"))
    with uncollected() as left:
        for _ in range(5):
            async with raw(emulator) as peer:
                await peer.send(handshake("/echo"))
                assert (await peer.head())[0] == 101
                assert await alive(peer)
        await eventually(lambda: not tunnels(emulator))
        await asyncio.sleep(0.1)
    assert left == []


# ---- slow readers


async def plateau(value: Callable[[], Any]) -> Any:
    """The value once it has stopped changing."""
    last, same = None, 0
    while same < 15:
        now = value()
        if asyncio.iscoroutine(now):
            now = await now
        same = same + 1 if now == last else 0
        last = now
        await asyncio.sleep(0.02)
    return last


def held_back(emulator: Emulator) -> int:
    """Bytes that the front buffers for peers that do not read."""
    return sum(
        pipe.transport.get_write_buffer_size()
        for tunnel in tunnels(emulator)
        for pipe in (tunnel.client, tunnel.function)
    )


@pytest.mark.parametrize("with_the_101", [False, True])
async def test_client_that_stalls(serve: Serve, with_the_101: bool) -> None:
    """A function can write only a limited amount to a client that does not read; when it reads, it gets everything."""
    size = 128 * MIB
    emulator = await serve(function("rawsocket.py", memorySize=1024))
    path = "/hello" if with_the_101 else "/flood"
    # So that the first bytes fill it already: accepted connections inherit it.
    assert "" in emulator._servers
    with socket.socket(fileno=os.dup(emulator._servers[""].sockets[0].fileno())) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    async with opened(emulator, f"{path}?key=k&size={size}", receive_buffer=8192, limit=1024) as peer:
        await plateau(lambda: held_back(emulator))
        if not with_the_101:
            sent = await plateau(lambda: ask(emulator, "/state?key=k"))
            assert sent["sent"] < size / 2
        assert held_back(emulator) < MIB
        received = hashlib.sha256()
        left = size
        while left:
            data = await peer.reader.read(min(left, 65536))
            assert data
            received.update(data)
            left -= len(data)
        state = await ask(emulator, "/state?key=k")
        assert received.hexdigest() == state["sha256"]


@pytest.mark.parametrize("held", ["", "&held=yes"], ids=["after the 101", "before it too"])
async def test_function_that_stalls(serve: Serve, held: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client can write only a limited amount to a function that does not read; when it reads, it gets everything."""
    narrow: list[socket.socket] = []

    async def shrink(upstream: Upstream) -> None:
        # So that the bytes that came before the 101 fill it already.
        narrow.append(upstream.transport.get_extra_info("socket"))
        narrow[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)

    size = 128 * MIB
    emulator = await serve(function("rawsocket.py"))
    before_splice(monkeypatch, shrink)
    block = os.urandom(MIB)
    sent = hashlib.sha256()
    written = 0

    async def write() -> None:
        nonlocal written
        peer.writer.transport.set_write_buffer_limits(0)
        while written < size:
            await peer.send(block)
            sent.update(block)
            written += len(block)
        peer.writer.write_eof()

    async with raw(emulator) as peer:
        await peer.send(handshake("/stall?key=k" + held))
        await ask(emulator, "/started?key=k")
        writing = asyncio.create_task(write())
        if held:
            await plateau(lambda: written)
            await ask(emulator, "/release?key=k")
        assert (await peer.head())[0] == 101
        assert await plateau(lambda: written) < size / 2
        assert held_back(emulator) < MIB
        narrow[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MIB)
        await ask(emulator, "/resume?key=k")
        await writing
        state = await ask(emulator, "/ended?key=k")
        assert (state["received"], state["sha256"]) == (size, sent.hexdigest())


async def test_timeout_of_a_stalled_socket(serve: Serve) -> None:
    """The timeout ends a socket whose client reads nothing and whose function writes without end."""
    emulator = await serve(function("rawsocket.py", timeout=1))
    async with opened(emulator, f"/flood?key=k&size={1 << 40}", receive_buffer=8192, limit=1024):
        record = await socket_end(emulator)
        assert (record.close_code, record.closed_by) == (1006, "timeout")
        assert (await ask(emulator, "/ended?key=k"))["ending"] == "reset"


# ---- many


async def test_as_many_sockets_as_the_concurrency(serve: Serve) -> None:
    """100 sockets share an instance of concurrency 100; the 101st gets 429, until one of them is closed."""
    emulator = await serve(function(instanceConcurrency=100), quotas={"instances": 1})
    async with contextlib.AsyncExitStack() as stack:
        sockets = await asyncio.gather(*(stack.enter_async_context(client(emulator)) for _ in range(100)))
        assert await refusal(emulator) == (429, "ResourceExhausted")
        for number, websocket in enumerate(sockets):
            await websocket.send(str(number))
        assert [await websocket.recv() for websocket in sockets] == [str(number) for number in range(100)]
        await sockets[50].close()
        await socket_end(emulator)
        await stack.enter_async_context(client(emulator))
        started = {r.instance_id for r in emulator.journal.records if isinstance(r, InvocationStarted)}
        assert len(started) == 1


async def test_overlapping_sockets_are_billed_once(serve: Serve) -> None:
    """The bill of overlapping sockets is the time during which at least one was open."""
    emulator = await serve(function("rawsocket.py"))

    async def one(begin: float, length: float) -> None:
        await asyncio.sleep(begin)
        async with opened(emulator, "/listen"):
            await asyncio.sleep(length)

    async with asyncio.TaskGroup() as group:
        for begin, length in ((0, 0.3), (0.1, 0.4), (0.2, 0.1), (0.7, 0.2)):  # the last one overlaps with none
            group.create_task(one(begin, length))
    await eventually(lambda: len([r for r in emulator.journal.records if is_socket(r)]) == 4)
    began = {r.request_id: r.wall_time for r in emulator.journal.records if isinstance(r, InvocationStarted)}
    ends = [r for r in emulator.journal.records if isinstance(r, InvocationEnded)]
    union, until = 0.0, 0.0
    for start, end in sorted((began[r.request_id], r.wall_time) for r in ends):
        union += max(0.0, end - max(start, until))
        until = max(until, end)
    total = sum(r.wall_time - began[r.request_id] for r in ends)
    billed = sum(r.billed_ms for r in ends) / 1000
    assert billed == emulator.bill("fn").milliseconds / 1000
    assert abs(billed - union) < (total - union) / 4


async def test_nothing_is_left_of_closed_sockets(serve: Serve) -> None:
    """200 sockets at a time, closed in every way, leave no tunnel, no connection and no file descriptor."""
    emulator = await serve(function("rawsocket.py", instanceConcurrency=200), quotas={"instances": 1})

    async def one(number: int) -> None:
        way = number % 4
        path = ("/listen", "/quit", "/reset", "/echo")[way]
        async with opened(emulator, path) as peer:
            if way == 0:
                await peer.send(CLOSE_1000)
            else:
                await peer.send(b"x")
                await peer.reader.read(1)
            if number % 8 == 3:
                peer.reset()

    def descriptors() -> int:
        return len(os.listdir("/dev/fd"))

    await one(0)
    await eventually(lambda: not tunnels(emulator) and not http_connections(emulator))
    before = descriptors()
    for _ in range(3):
        await asyncio.gather(*(one(number) for number in range(200)))
        await eventually(lambda: not tunnels(emulator))
    await eventually(lambda: not http_connections(emulator))
    await eventually(lambda: descriptors() <= before)


async def test_many_timeouts_at_once(serve: Serve) -> None:
    """100 sockets that reach their timeout together all end, and all are recorded."""
    emulator = await serve(function("rawsocket.py", instanceConcurrency=100, timeout=2))
    async with contextlib.AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(opened(emulator, "/listen")) for _ in range(100)]
        assert set(await asyncio.gather(*(peer.rest() for peer in peers))) == {b""}
    await eventually(lambda: not tunnels(emulator))
    ends = [r for r in emulator.journal.records if isinstance(r, InvocationEnded)]
    assert [(r.close_code, r.closed_by) for r in ends] == [(1006, "timeout")] * 100
