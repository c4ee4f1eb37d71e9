"""The emulator's clock, as tests use it: they advance it, and each test starts at the real time."""

from __future__ import annotations

from fcemu.clock import ManualClock
from fcemu.testing.loop import LoopThread


class ResettableClock(ManualClock):
    """A clock whose time of day can be set back to the machine's; its monotonic time never goes back."""

    def __init__(self) -> None:
        super().__init__()
        self._behind = 0.0

    def wall_now(self) -> float:
        return super().wall_now() - self._behind

    def reset(self) -> None:
        """Set the time of day to the machine's."""
        self._behind = self.ahead


class KitClock:
    """The emulator's clock, which a test can advance."""

    def __init__(self, loop: LoopThread, clock: ManualClock) -> None:
        self._loop = loop
        self._clock = clock

    def advance(self, seconds: float = 0, *, minutes: float = 0, hours: float = 0, days: float = 0) -> None:
        """Advance the clock. Everything that becomes due happens, in order, before this returns.

        Raises:
            ValueError: the total is negative.
        """
        total = seconds + 60 * minutes + 3600 * hours + 86400 * days
        if total < 0:
            raise ValueError("a clock cannot go back")

        async def advance() -> None:
            await self._loop.idle()
            await self._clock.advance(total)

        self._loop.call(advance)

    def now(self) -> float:
        """The time of day, in seconds since 1970 UTC."""
        return self._clock.wall_now()
