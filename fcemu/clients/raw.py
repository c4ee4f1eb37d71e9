"""Sends a request byte for byte, and reads the beginning of its answer."""

from __future__ import annotations

import asyncio
import contextlib
from email.message import Message

from fcemu.clients.client import Response
from fcemu.clients.request import Request

_MAX_BODY = 64 * 1024
"""Bytes to keep of a body."""

_ENDLESS = 1.0
"""Seconds after which a body without a length counts as an endless stream."""


async def send(port: int, request: Request, timeout: float) -> Response:
    """Send a request to 127.0.0.1 and return its answer. No client library changes what is sent.

    Args:
        timeout: seconds until there must be an answer.

    Raises:
        TimeoutError, OSError, asyncio.IncompleteReadError: there was no answer.
    """
    async with asyncio.timeout(timeout):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(_bytes(request))
            status, fields = _head(await reader.readuntil(b"\r\n\r\n"))
            length = fields.get("Content-Length")
            bodiless = request.method == "HEAD" or status == 101
            body = b"" if bodiless else await _body(reader, int(length) if length is not None else None)
            return Response(status, fields, body)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def _bytes(request: Request) -> bytes:
    headers = [("Host", request.host), *request.headers]
    names = {name.lower() for name, _ in headers}
    if "connection" not in names:
        headers.append(("Connection", "close"))
    if "content-length" not in names and (request.body or request.method in ("POST", "PUT", "PATCH")):
        headers.append(("Content-Length", str(len(request.body))))
    lines = [f"{request.method} {request.target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode() + request.body


def _head(raw: bytes) -> tuple[int, Message]:
    first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
    fields = Message()
    for line in lines:
        name, _, value = line.partition(":")
        fields[name] = value.strip()
    return int(first.split(" ")[1]), fields


async def _body(reader: asyncio.StreamReader, length: int | None) -> bytes:
    """The beginning of a body. Waits for its end: a client that disconnects early can cost an instance (D/08/058)."""
    body, read = b"", 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_ENDLESS if length is None else None):
            while (length is None or read < length) and (part := await reader.read(_MAX_BODY)):
                read += len(part)
                body = (body + part)[:_MAX_BODY]
    return body
