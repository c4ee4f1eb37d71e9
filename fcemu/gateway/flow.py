"""When does what is written go out, and is the other side slow? What both ends of the HTTP path have in common."""

from __future__ import annotations

import asyncio

_SMALL = 16 * 1024
"""Bytes up to which a piece waits for the end of the round: larger ones would only be kept in memory."""


class Outbox:
    """Small pieces that were written in one round of the event loop. They go out together, at its end.

    A piece on its own wakes the process that waits for it, and that sleeps again before the next one comes; of many in
    a row the first wakes it, and the others find it at work. Under load this halves what a write costs.

    Attributes:
        loop: the event loop. It is asked for once: to look up the running one is a system call in some Pythons.
    """

    __slots__ = ("_pieces", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._pieces: list[tuple[asyncio.Transport, bytes]] = []

    def write(self, transport: asyncio.Transport, data: bytes) -> None:
        """Write behind all that was written before, at the end of this round or earlier."""
        if len(data) > _SMALL:
            self.flush()
            transport.write(data)
            return
        if not self._pieces:
            self.loop.call_soon(self.flush)
        self._pieces.append((transport, data))

    def flush(self) -> None:
        """Write what there is now."""
        pieces, self._pieces = self._pieces, []
        for transport, piece in pieces:
            if not transport.is_closing():
                transport.write(piece)


class FlowControl(asyncio.Protocol):
    """A protocol whose writer can wait until the transport takes more.

    Args:
        outbox: where its small pieces wait for the end of the round.
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
        """The other side is slow."""
        return self._drained is not None

    async def drain(self) -> None:
        """Wait while it is."""
        while self._drained is not None:
            await self._drained
