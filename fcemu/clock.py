"""What time is it, and when is the next thing due?

Two clocks, never mixed: `now()` is monotonic seconds for deadlines, idle times and billing; `wall_now()` is
seconds since 1970 UTC for what is printed or signed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """Something that is due once and can be called off."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """The one source of time. Everything that waits or measures asks it."""

    def now(self) -> float:
        """Monotonic seconds."""
        ...

    def wall_now(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        ...

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call back when `now()` has reached `when`."""
        ...


class SystemClock:
    """The machine's clocks; timers run on the running event loop."""

    now = staticmethod(time.monotonic)
    wall_now = staticmethod(time.time)

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(max(0.0, when - self.now()), callback)
