"""A server that answers upgrades by hand and then treats the connection as bytes. The path says how it behaves.

Every connection may name itself with `?key=`; a plain request asks about it, or gives it leave to go on:

    /state?key=K            what the connection has done so far
    /started?key=K          the same, once it is there
    /ended?key=K            the same, once its client has ended it
    /release?key=K          let it answer the handshake
    /resume?key=K           let it read
    /heads                  the request lines that have come, in order
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import socket
import struct
from urllib.parse import parse_qsl, urlsplit

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTROLS = ("/heads", "/state", "/started", "/ended", "/release", "/resume")
BLOCK = bytes(range(256)) * 256


class Record:
    """What is known of one connection."""

    def __init__(self) -> None:
        self.received = 0
        self.sent = 0
        self.hash = hashlib.sha256()
        self.ending: str | None = None
        self.started = asyncio.Event()
        self.released = asyncio.Event()
        self.resumed = asyncio.Event()
        self.ended = asyncio.Event()

    def view(self) -> dict[str, object]:
        return {"received": self.received, "sent": self.sent, "sha256": self.hash.hexdigest(), "ending": self.ending}


records: dict[str, Record] = {}
heads: list[str] = []


async def drain_input(reader: asyncio.StreamReader, record: Record, writer: asyncio.StreamWriter | None = None) -> None:
    """Read to the end, count, and send the same back if there is a writer."""
    while data := await reader.read(65536):
        record.received += len(data)
        record.hash.update(data)
        if writer is not None:
            writer.write(data)
            await writer.drain()


async def flood(writer: asyncio.StreamWriter, record: Record, size: int) -> None:
    """Write `size` bytes as fast as they are taken."""
    while record.sent < size:
        block = BLOCK[: size - record.sent]
        writer.write(block)
        record.hash.update(block)
        await writer.drain()
        record.sent += len(block)


def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with RST."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def accept(head: str) -> bytes:
    """The 101 for a handshake."""
    key = next((line[18:].strip() for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key:")), "")
    answer = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
    return (
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Accept: {answer}\r\n\r\n"
    ).encode()


async def behave(
    path: str,
    query: dict[str, str],
    accepted: bytes,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    record: Record,
) -> None:
    """Be the server that the path asks for."""
    size = int(query.get("size", "0"))
    # Nothing is buffered here, so that what was written has left: the tests count it.
    writer.transport.set_write_buffer_limits(0)
    match path:
        case "/echo":
            writer.write(accepted)
            await drain_input(reader, record, writer)
        case "/listen":
            writer.write(accepted)
            await drain_input(reader, record)
        case "/say":  # bytes together with the 101, then the end at the client's first
            writer.write(accepted + bytes.fromhex(query["hex"]))
            await reader.read(65536)
        case "/say-and-end":
            writer.write(accepted + bytes.fromhex(query["hex"]))
        case "/hello":  # many bytes together with the 101
            block = BLOCK * (size // len(BLOCK))
            record.hash.update(block)
            writer.write(accepted + block)
            await drain_input(reader, record)
        case "/held":  # the 101 comes late
            await record.released.wait()
            writer.write(accepted)
            await drain_input(reader, record)
        case "/never":
            await drain_input(reader, record)
        case "/stall":  # reads nothing until it may
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            if query.get("held"):
                await record.released.wait()
            writer.write(accepted)
            await record.resumed.wait()
            reader._transport.resume_reading()  # type: ignore[attr-defined]
            await drain_input(reader, record)
        case "/flood":
            writer.write(accepted)
            await flood(writer, record, size)
            writer.write_eof()
            await drain_input(reader, record)
        case "/half-close":  # says one thing, then only listens
            writer.write(accepted)
            await reader.read(1)
            writer.write(b"last words")
            writer.write_eof()
            await drain_input(reader, record)
        case "/reset":  # ends badly at the first byte
            writer.write(accepted)
            await reader.read(1)
            reset(writer)
        case "/quit":  # ends without a word at the first byte
            writer.write(accepted)
            await reader.read(1)
    with contextlib.suppress(OSError):
        await writer.drain()


async def control(path: str, query: dict[str, str], writer: asyncio.StreamWriter) -> None:
    if path == "/heads":
        answer: object = heads
    else:
        record = records.setdefault(query["key"], Record())
        if path == "/release":
            record.released.set()
        elif path == "/resume":
            record.resumed.set()
        elif path == "/ended":
            await record.ended.wait()
        elif path == "/started":
            await record.started.wait()
        answer = record.view()
    await respond(writer, 200, json.dumps(answer))


async def respond(writer: asyncio.StreamWriter, status: int, body: str) -> None:
    writer.write(f"HTTP/1.1 {status} As Asked\r\nContent-Length: {len(body)}\r\nX-Mine: yes\r\n\r\n{body}".encode())
    await writer.drain()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, OSError):
        while head := (await reader.readuntil(b"\r\n\r\n")).decode():
            line = head.partition("\r\n")[0]
            url = urlsplit(line.split(" ")[1])
            query = dict(parse_qsl(url.query))
            heads.append(line)
            if url.path in CONTROLS:
                await control(url.path, query, writer)
            elif url.path == "/refuse":
                await respond(writer, int(query["status"]), query.get("body", ""))
            elif url.path == "/switch":
                writer.write(accept(head))
            else:
                record = records.setdefault(query.get("key", ""), Record())
                record.started.set()
                record.ending = "reset"
                try:
                    await behave(url.path, query, accept(head), reader, writer, record)
                    record.ending = "eof"
                finally:
                    record.ended.set()
                break
    writer.close()


async def main() -> None:
    port = int(os.environ["FC_SERVER_PORT"])
    server = await asyncio.start_server(serve, "0.0.0.0", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
