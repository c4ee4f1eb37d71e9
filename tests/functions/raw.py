"""A bare HTTP/1.1 server on sockets: it keeps the bytes that it gets, and answers with the bytes that it is told.

What it does is chosen by the path. Nothing waits for a time: a step that has to follow another one waits for the
other one's request.

    /say/<base64>[?then]    these bytes as they are, then keep | close | reset | exit | hang | half
    /seen                   everything else that arrived: [{"head", "body"}, …]
    /feed/<key>             reads the body piece by piece and answers its size and hash
    /fed/<key>?<bytes>      answers once so many bytes of that body have come
    /echo                   answers each piece of the body as it comes
    /events/<key>           three server-sent events; each waits until the one before was acknowledged
    /ack/<key>              acknowledges one
    /flood/<key>?<bytes>    writes so many bytes
    /flooded/<key>          answers how many were written, once the writing goes no further
    /deaf/<key>             reads nothing of its body until /ack/<key>, then all, then answers its size
    /hang/<key>             never answers; /gone/<key> answers once its connection has ended
    /waits/<key>            answers once /hang/<key> or /events/<key> has arrived
    /drop/<key>             drops the connection the first time, answers the second
    /headers/x?<bytes>      answers with header names and values of so many bytes
    /early                  answers before it reads its body
    /continue               an interim 100 before it reads the body, and an ordinary answer
    anything else           {"head", "body"} of the request
"""

import asyncio
import base64
import collections
import hashlib
import json
import os
import socket

seen: list[dict[str, str]] = []
counts: collections.Counter[str] = collections.Counter()
changed = asyncio.Condition()


async def count(key: str, number: int = 1) -> None:
    async with changed:
        counts[key] += number
        changed.notify_all()


async def reached(key: str, number: int = 1) -> None:
    async with changed:
        await changed.wait_for(lambda: counts[key] >= number)


def plain(body: bytes, content_type: bytes = b"application/json") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (content_type, len(body), body)


class Exchange:
    """One request on one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        self.reader, self.writer, self.head = reader, writer, head
        self.method, self.target, _ = head.split(b"\r\n", 1)[0].decode("utf-8", "surrogateescape").split(" ")
        fields = [line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2]]
        self.fields = {name.lower(): value for name, value in fields}
        self.length = int(self.fields.get(b"content-length", b"0"))
        self.chunked = self.fields.get(b"transfer-encoding") == b"chunked"
        self.ended = not self.chunked and self.length == 0

    async def piece(self) -> bytes:
        """The next piece of the body; empty at its end."""
        if self.ended:
            return b""
        if not self.chunked:
            data = await self.reader.read(min(self.length, 65536))
            self.length -= len(data)
            self.ended = self.length == 0
            if not data:
                raise ConnectionResetError
            return data
        size = int((await self.reader.readuntil(b"\r\n")).strip(), 16)
        data = (await self.reader.readexactly(size + 2))[:-2]
        self.ended = size == 0
        return data

    async def body(self) -> bytes:
        parts = []
        while part := await self.piece():
            parts.append(part)
        return b"".join(parts)

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> bool:
        """Answer; returns whether the connection stays."""
        path, _, query = self.target.partition("?")
        _, what, *rest = path.split("/", 2) if path.startswith("/") else ("", "")
        key = rest[0] if rest else ""
        if hasattr(self, f"do_{what}"):
            return (await getattr(self, f"do_{what}")(key, query)) is not False
        body = await self.body()
        shown = {"head": self.head.decode("latin-1"), "body": body.decode("latin-1")}
        seen.append(shown)
        await self.say(plain(json.dumps(shown).encode()))
        return True

    async def do_say(self, key: str, then: str) -> bool:
        body = await self.body()
        seen.append({"head": self.head.decode("latin-1"), "body": body.decode("latin-1")})
        await self.say(base64.urlsafe_b64decode(key))
        if then == "exit":
            os._exit(3)
        if then == "reset":
            self.writer.transport.abort()
        if then == "half":
            self.writer.write_eof()
        if then in ("hang", "half"):
            await self.reader.read()
        return then in ("", "keep")

    async def do_seen(self, key: str, query: str) -> None:
        await self.say(plain(json.dumps(seen).encode()))

    async def do_feed(self, key: str, query: str) -> None:
        size, digest = 0, hashlib.sha256()
        while part := await self.piece():
            size += len(part)
            digest.update(part)
            await count(f"fed {key}", len(part))
        await self.say(plain(json.dumps([size, digest.hexdigest()]).encode()))

    async def do_fed(self, key: str, query: str) -> None:
        await reached(f"fed {key}", int(query))
        await self.say(plain(json.dumps(counts[f"fed {key}"]).encode()))

    async def do_echo(self, key: str, query: str) -> None:
        await self.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while part := await self.piece():
            await self.say(b"%x\r\n%b\r\n" % (len(part), part))
        await self.say(b"0\r\n\r\n")

    async def do_events(self, key: str, query: str) -> None:
        await self.say(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        await count(f"here {key}")
        for number in range(3):
            await reached(f"ack {key}", number)
            event = b"data: %d\n\n" % number
            await self.say(b"%x\r\n%b\r\n" % (len(event), event))
        await self.say(b"0\r\n\r\n")

    async def do_ack(self, key: str, query: str) -> None:
        await count(f"ack {key}")
        await self.say(plain(b"{}"))

    async def do_flood(self, key: str, query: str) -> None:
        size = int(query)
        await self.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while size:
            part = min(size, 65536)
            self.writer.write(bytes(part))
            try:
                await asyncio.wait_for(self.writer.drain(), 1)
            except TimeoutError:
                await count(f"stalled {key}")
                await self.writer.drain()
            size -= part
            await count(f"flooded {key}", part)
        await count(f"stalled {key}")

    async def do_flooded(self, key: str, query: str) -> None:
        await reached(f"stalled {key}")
        await self.say(plain(json.dumps(counts[f"flooded {key}"]).encode()))

    async def do_deaf(self, key: str, query: str) -> None:
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await count(f"here {key}")
        await reached(f"ack {key}")
        self.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await self.do_feed(key, "")

    async def do_hang(self, key: str, query: str) -> bool:
        await count(f"here {key}")
        if query == "begun":
            await self.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        await self.reader.read()
        await count(f"gone {key}")
        return False

    async def do_gone(self, key: str, query: str) -> None:
        await reached(f"gone {key}")
        await self.say(plain(b"{}"))

    async def do_waits(self, key: str, query: str) -> None:
        await reached(f"here {key}")
        await self.say(plain(b"{}"))

    async def do_drop(self, key: str, query: str) -> bool:
        await count(f"drop {key}")
        seen.append({"head": self.head.decode("latin-1"), "body": ""})
        if counts[f"drop {key}"] == 1:
            if query == "begun":
                await self.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
            return False
        await self.body()
        await self.say(plain(json.dumps(counts[f"drop {key}"]).encode()))
        return True

    async def do_continue(self, key: str, query: str) -> None:
        if self.fields.get(b"expect"):
            await self.say(b"HTTP/1.1 100 Continue\r\n\r\n")
        await self.say(plain(await self.body(), b"text/plain"))

    async def do_headers(self, key: str, query: str) -> None:
        fields = b"Content-Length: 0\r\nX-Pad: "
        size = int(query) - len(b"Content-Length0X-Pad")
        await self.say(b"HTTP/1.1 200 OK\r\n%b%b\r\n\r\n" % (fields, b"a" * size))

    async def do_early(self, key: str, query: str) -> None:
        await self.say(plain(b"early", b"text/plain"))
        await self.body()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if not await Exchange(reader, writer, head).answer():
                break
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(
        serve, "0.0.0.0", int(os.environ["FC_SERVER_PORT"]), family=socket.AF_INET, limit=1 << 20
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
