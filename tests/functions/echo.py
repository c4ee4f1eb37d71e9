"""Echoes WebSocket messages; answers plain requests with what came. Also a few ways to misbehave, by path.

It needs the standard library alone: hundreds of tests start it, and a framework takes ten times as long to import.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PROTOCOLS = ("chat", "json")
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


class Request:
    """One request, its body unread."""

    def __init__(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        self.method, self.target, _ = first.split(" ")
        pairs = (line.partition(":") for line in lines)
        self.headers = [(name, value.strip(" \t")) for name, _, value in pairs]
        url = urlsplit(self.target)
        self.path, self.query = url.path, parse_qs(url.query)

    def value(self, name: str) -> str:
        """All values of a header, in lower case."""
        return ",".join(value for key, value in self.headers if key.lower() == name).lower()

    async def body(self) -> bytes:
        """All of it."""
        if self.value("expect") == "100-continue":
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.value("transfer-encoding") != "chunked":
            return await self.reader.readexactly(int(self.value("content-length") or "0"))
        parts = []
        while size := int((await self.reader.readuntil(b"\r\n")).partition(b";")[0], 16):
            parts.append((await self.reader.readexactly(size + 2))[:-2])
        while await self.reader.readuntil(b"\r\n") != b"\r\n":
            pass
        return b"".join(parts)

    async def answer(self, body: str, status: str = "200 OK", kind: str = "application/json") -> None:
        """Answer it; as an answer to HEAD, without the body."""
        data = body.encode()
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {len(data)}\r\n\r\n"
        self.writer.write(head.encode() + (b"" if self.method == "HEAD" else data))
        await self.writer.drain()


class Socket:
    """An accepted WebSocket."""

    def __init__(self, request: Request) -> None:
        self.reader, self.writer = request.reader, request.writer
        key = next(value for name, value in request.headers if name.lower() == "sec-websocket-key")
        accepted = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: upgrade"]
        lines.append(f"Sec-WebSocket-Accept: {accepted}")
        wanted = [name.strip() for name in request.value("sec-websocket-protocol").split(",")]
        lines += [f"Sec-WebSocket-Protocol: {name}" for name in wanted if name in PROTOCOLS][:1]
        self.writer.write("\r\n".join([*lines, "", ""]).encode())

    async def send(self, opcode: int, data: bytes) -> None:
        """Send one frame."""
        size = len(data)
        length = (
            bytes([size])
            if size < 126
            else b"\x7e" + size.to_bytes(2, "big")
            if size < 1 << 16
            else b"\x7f" + size.to_bytes(8, "big")
        )
        self.writer.write(bytes([0x80 | opcode]) + length + data)
        await self.writer.drain()

    async def frame(self) -> tuple[int, bool, bytes]:
        """The next frame: opcode, whether it ends a message, payload."""
        first, second = await self.reader.readexactly(2)
        size = second & 127
        if size > 125:
            size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
        key = await self.reader.readexactly(4)
        masked = await self.reader.readexactly(size)
        mask = (key * (size // 4 + 1))[:size]
        data = (int.from_bytes(masked, "big") ^ int.from_bytes(mask, "big")).to_bytes(size, "big")
        return first & 15, first >= 0x80, data

    async def messages(self) -> AsyncIterator[tuple[int, bytes]]:
        """Each text or binary message, until the client's Close frame, which is answered."""
        kind, parts = TEXT, []
        while True:
            opcode, ends, data = await self.frame()
            if opcode == CLOSE:
                await self.send(CLOSE, data[:2])
                return
            if opcode == PING:
                await self.send(PONG, data)
            if opcode not in (CONTINUATION, TEXT, BINARY):
                continue
            kind = opcode or kind
            parts.append(data)
            if ends:
                yield kind, b"".join(parts)
                parts = []

    async def close(self, code: int, reason: str) -> None:
        """Send a Close frame and wait for the client's."""
        await self.send(CLOSE, code.to_bytes(2, "big") + reason.encode())
        while (await self.frame())[0] != CLOSE:
            pass


async def echo(socket: Socket) -> None:
    async for kind, data in socket.messages():
        text = data.decode() if kind == TEXT else ""
        if text.startswith("close "):
            _, code, *reason = text.split(" ", 2)
            await socket.close(int(code), " ".join(reason))
            return
        if text == "exit":
            os._exit(3)
        await socket.send(kind, data)


async def handle(request: Request) -> bool:
    """Answer a request; returns whether another one may follow."""
    if request.path == "/exit":
        os._exit(3)
    if request.path == "/sleep":
        await asyncio.sleep(float(request.query.get("seconds", ["3600"])[0]))
    if request.path == "/pid":
        await request.body()
        await request.answer(json.dumps({"pid": os.getpid(), "instance": os.environ["FC_INSTANCE_ID"]}))
    elif request.path == "/environment":
        await request.body()
        await request.answer(json.dumps(dict(os.environ)))
    elif request.value("upgrade") != "websocket" or "upgrade" not in request.value("connection"):
        body = (await request.body()).decode("latin-1")
        seen = {"method": request.method, "target": request.target, "headers": request.headers, "body": body}
        await request.answer(json.dumps(seen))
    elif request.path == "/refuse":
        await request.answer("no such room", "404 Not Found", "text/plain")
    else:
        await echo(Socket(request))
        return False
    return request.value("connection") != "close"


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, OSError):
        while await handle(Request(await reader.readuntil(b"\r\n\r\n"), reader, writer)):
            pass
    writer.close()


async def main() -> None:
    stop = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    await asyncio.start_server(serve, "0.0.0.0", int(os.environ["FC_SERVER_PORT"]), backlog=1024)
    await stop.wait()
    os._exit(0)  # whatever is open


if __name__ == "__main__":
    print("starting", flush=True)
    print("a warning", file=sys.stderr, flush=True)
    asyncio.run(main())
