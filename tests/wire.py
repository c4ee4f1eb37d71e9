"""A client that sends exactly the bytes it is told and shows exactly the bytes it gets."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from typing import Any, NamedTuple

from fcemu.emulator import Emulator

HOST = b"Host: fn.localhost\r\n"


class Answer(NamedTuple):
    """One response as it came."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes
    trailers: list[tuple[str, str]]
    chunks: int

    def values(self, name: str) -> list[str]:
        """All values of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The gateway's error code, from a body whose keys are in the cloud's order."""
        assert list(self.json) == ["RequestId", "Code", "Message"]
        assert self.values("x-fc-request-id") == [self.json["RequestId"]]
        code: str = self.json["Code"]
        return code


class Wire:
    """One connection to an emulator."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, emulator: Emulator) -> Wire:
        """Connect to the emulator's front."""
        return cls(*await asyncio.open_connection(emulator.host, emulator.port, limit=1 << 20))

    async def __aenter__(self) -> Wire:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def lines(self) -> list[bytes]:
        """The next block of lines up to an empty one."""
        lines: list[bytes] = []
        while line := (await self.reader.readuntil(b"\r\n"))[:-2]:
            lines.append(line)
        return lines

    async def head(self) -> Answer:
        """The next response head, its body unread."""
        status, *fields = await self.lines()
        version, code, *reason = status.decode("latin-1").split(" ", 2)
        assert version == "HTTP/1.1"
        return Answer(int(code), "".join(reason), _pairs(fields), b"", [], 0)

    async def chunk(self) -> bytes:
        """The next chunk; empty for the last one, whose trailers are still to be read."""
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        return (await self.reader.readexactly(size + 2))[:-2] if size else b""

    async def answer(self, *, head_only: bool = False) -> Answer:
        """The next response with its body."""
        answer = await self.head()
        if head_only or answer.status in (204, 304) or answer.status < 200:
            return answer
        if answer.values("transfer-encoding"):
            assert answer.values("transfer-encoding") == ["chunked"]
            assert not answer.values("content-length")
            parts: list[bytes] = []
            while part := await self.chunk():
                parts.append(part)
            return answer._replace(body=b"".join(parts), trailers=_pairs(await self.lines()), chunks=len(parts))
        if lengths := answer.values("content-length"):
            (length,) = lengths
            return answer._replace(body=await self.reader.readexactly(int(length)))
        return answer._replace(body=await self.reader.read())

    async def at_end(self) -> bytes:
        """What is left until the emulator closes the connection."""
        parts: list[bytes] = []
        with contextlib.suppress(ConnectionError):
            while part := await self.reader.read(65536):
                parts.append(part)
        return b"".join(parts)


def request(
    target: str | bytes = "/", *lines: bytes, method: str = "GET", body: bytes | None = None, host: bytes = HOST
) -> bytes:
    """The bytes of a request; a body is announced by its length."""
    path = target.encode() if isinstance(target, str) else target
    fields = host + b"".join(line + b"\r\n" for line in lines)
    if body is not None:
        fields += b"Content-Length: %d\r\n" % len(body)
    return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (method.encode(), path, fields, body or b"")


def say(response: bytes, then: str = "") -> str:
    """The target that makes tests/functions/raw.py answer with these bytes."""
    return f"/say/{base64.urlsafe_b64encode(response).decode()}" + (f"?{then}" if then else "")


def _pairs(lines: list[bytes]) -> list[tuple[str, str]]:
    pairs = [line.decode("latin-1").partition(": ") for line in lines]
    return [(name, value) for name, _, value in pairs]
