"""How does a request's body get from the connection to its reader? As a queue of the parts that have arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

BUFFER_LIMIT = 64 * 1024
"""Bytes of a body, or after an upgrade, that may wait to be read; with more, the connection pauses."""


class BodyBroken(Exception):
    """A request's body is not valid HTTP, or the client left in the middle of it."""


class RequestBody:
    """The body of a request, part by part. It has one reader.

    Args:
        on_read: called when the waiting parts were read, so that there is room for more.

    Attributes:
        complete: nothing is left to be read, and all of it was valid.
    """

    __slots__ = ("_ended", "_ignored", "_on_read", "_parts", "_reader", "_size", "_why_broken")

    def __init__(self, on_read: Callable[[], None] | None) -> None:
        self._on_read = on_read
        self._parts: list[bytes] = []
        self._size = 0
        self._ended = self._ignored = False
        self._why_broken: str | None = None
        self._reader: asyncio.Future[None] | None = None

    @property
    def complete(self) -> bool:
        return self._ended and not self._parts and self._why_broken is None

    async def read(self) -> bytes:
        """All bytes that wait, or the next ones to arrive; empty at the end.

        Raises:
            BodyBroken: the body breaks off.
        """
        while not self._parts:
            if self._why_broken is not None:
                raise BodyBroken(self._why_broken)
            if self._ended:
                return b""
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        if self._on_read is not None:
            self._on_read()
        return data

    @property
    def is_full(self) -> bool:
        """More than BUFFER_LIMIT bytes are waiting."""
        return self._size > BUFFER_LIMIT

    def feed(self, part: bytes) -> None:
        """Add a part."""
        if self._ignored:
            return
        self._parts.append(part)
        self._size += len(part)
        self._wake()

    def end(self) -> None:
        """The last part was added."""
        self._ended = True
        self._wake()

    def ignore(self) -> None:
        """Drop what waits and what is still to come: it will not be read."""
        self._ignored = True
        self._parts.clear()
        self._size = 0

    def break_off(self, why: str) -> None:
        """The rest will not come; `read` raises, once the parts before are read."""
        self._why_broken = why
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


NO_BODY = RequestBody(None)
"""The body of every request without one."""
NO_BODY.end()
