"""Is the other side slow? A protocol whose writer can wait until the transport takes more."""

from __future__ import annotations

import asyncio


class FlowControl(asyncio.Protocol):
    """What a transport says of its buffer, kept for who writes."""

    __slots__ = ("_drained",)

    def __init__(self) -> None:
        self._drained: asyncio.Future[None] | None = None

    def pause_writing(self) -> None:
        self._drained = asyncio.get_running_loop().create_future()

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
