"""What has come of a request's body?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

BUFFER_LIMIT = 64 * 1024
"""Bytes of a body, or behind an upgrade, that wait to be used; then reading pauses."""


class BodyBroken(Exception):
    """A request's body is not valid HTTP, or the client left in the middle of it."""


class RequestBody:
    """The body of a request, as it comes. One reader.

    Args:
        on_read: called when what had come was read, so that there is room for more.

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
        """What has come; empty at the end.

        Raises:
            BodyBroken: it breaks off.
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
        """As much is waiting as may."""
        return self._size > BUFFER_LIMIT

    def feed(self, part: bytes) -> None:
        """More has come."""
        if self._ignored:
            return
        self._parts.append(part)
        self._size += len(part)
        self._wake()

    def end(self) -> None:
        """All has come."""
        self._ended = True
        self._wake()

    def ignore(self) -> None:
        """Nobody wants the rest."""
        self._ignored = True
        self._parts.clear()
        self._size = 0

    def break_off(self, why: str) -> None:
        """The rest will not come."""
        self._why_broken = why
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


NO_BODY = RequestBody(None)
