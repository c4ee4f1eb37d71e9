"""When are bytes written, and when must a writer wait? Both ends of the HTTP path share this."""

from __future__ import annotations

import asyncio

_SMALL = 16 * 1024
"""Bytes of the largest piece that waits for the end of the round. A larger one would only take up memory."""


class Outbox:
    """Collects the small pieces that are written in one round of the event loop, and sends them at its end.

    A write wakes the process at the other end. Many writes in a row wake it once: it finds the later pieces while it is
    at work on the first. Under load this halves the cost of a write.

    Attributes:
        loop: the event loop, looked up once: in some Pythons each look-up of the running loop is a system call.
    """

    __slots__ = ("_pieces", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._pieces: list[tuple[asyncio.Transport, bytes]] = []

    def write(self, transport: asyncio.Transport, data: bytes) -> None:
        """Send a piece after all earlier ones, at the end of this round at the latest."""
        if len(data) > _SMALL:
            self.flush()
            transport.write(data)
            return
        if not self._pieces:
            self.loop.call_soon(self.flush)
        self._pieces.append((transport, data))

    def flush(self) -> None:
        """Send all pieces now."""
        pieces, self._pieces = self._pieces, []
        for transport, piece in pieces:
            if not transport.is_closing():
                transport.write(piece)


class FlowControl(asyncio.Protocol):
    """A protocol whose writer can wait until the transport takes more.

    Args:
        outbox: collects its small pieces.
    """

    __slots__ = ("_drained", "loop", "outbox")

    def __init__(self, outbox: Outbox) -> None:
        self.loop = outbox.loop
        self.outbox = outbox
        self._drained: asyncio.Future[None] | None = None

    def pause_writing(self) -> None:
        self._drained = self.loop.create_future()

    def resume_writing(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    @property
    def writing_paused(self) -> bool:
        """The other side reads more slowly than we write."""
        return self._drained is not None

    async def drain(self) -> None:
        """Wait until the transport takes more."""
        while self._drained is not None:
            await self._drained
