"""What is going on, and when has the last of it ended?"""

from __future__ import annotations

import asyncio
from typing import TypeVar

_T = TypeVar("_T")


class Ongoing(set[_T]):
    """A set whose members end by themselves, and `discard` themselves then."""

    def __init__(self) -> None:
        super().__init__()
        self._emptied: asyncio.Future[None] | None = None

    def discard(self, member: object) -> None:
        """Take a member out, if it is there."""
        set.discard(self, member)
        if self._emptied is not None and not self and not self._emptied.done():
            self._emptied.set_result(None)

    async def emptied(self, seconds: float) -> bool:
        """Wait until there is no member; returns False if there still is one after that many seconds."""
        if self:
            if self._emptied is None or self._emptied.done():
                self._emptied = asyncio.get_running_loop().create_future()
            await asyncio.wait((self._emptied,), timeout=seconds)
        return not self
