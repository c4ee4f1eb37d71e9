"""What time is it, and when is the next thing due?

Two clocks, never mixed: `now()` is monotonic seconds for deadlines, idle times and billing; `wall_now()` is
seconds since 1970 UTC for what is printed or signed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

Due = Callable[[], "asyncio.Future[None] | None"]
"""What a timer calls back. It may return a future: a clock that is put forward waits for it before the next timer."""


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

    def call_at(self, when: float, callback: Due) -> Timer:
        """Call back when `now()` has reached `when`."""
        ...


async def until(clock: Clock, when: float) -> None:
    """Wait until a clock's `now()` has reached `when`."""
    due: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    timer = clock.call_at(when, lambda: None if due.done() else due.set_result(None))
    try:
        await due
    finally:
        timer.cancel()


class SystemClock:
    """The machine's clocks; timers run on the running event loop."""

    now = staticmethod(time.monotonic)
    wall_now = staticmethod(time.time)

    def call_at(self, when: float, callback: Due) -> Timer:
        return asyncio.get_running_loop().call_later(max(0.0, when - self.now()), callback)


_SETTLE = 10
"""Rounds of the event loop that what was called back has to act."""


class ManualTimer:
    """A timer of a `ManualClock`."""

    def __init__(self, when: float, callback: Due) -> None:
        self.when = when
        self.handle: asyncio.TimerHandle | None = None
        self._callback: Due | None = callback

    def cancel(self) -> None:
        """Call it off."""
        self._callback = None
        if self.handle is not None:
            self.handle.cancel()

    @property
    def pending(self) -> bool:
        return self._callback is not None

    def fire(self) -> asyncio.Future[None] | None:
        """Call back, once; returns what the callback does."""
        callback, self._callback = self._callback, None
        return callback() if callback is not None else None


class ManualClock:
    """The machine's clocks, which a test can put forward: what is due on the way happens at once, in its order.

    It runs on by itself, so that whoever does not put it forward notices nothing. Use it from one event loop.
    """

    def __init__(self) -> None:
        self.ahead = 0.0
        """Seconds by which it has been put forward."""
        self._timers: list[ManualTimer] = []

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic() + self.ahead

    def wall_now(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return time.time() + self.ahead

    def call_at(self, when: float, callback: Due) -> Timer:
        """Call back when `now()` has reached `when`, by itself or because the clock was put forward."""
        timer = ManualTimer(when, callback)
        self._arm(timer)
        self._timers = [timer, *(other for other in self._timers if other.pending)]
        return timer

    async def advance(self, seconds: float) -> None:
        """Put the clock forward; returns when what was due has been called back, and had a chance to act.

        Args:
            seconds: by how much; not negative.
        """
        target, ahead = self.now() + seconds, self.ahead + seconds
        while (due := self._next()) is not None and due.when <= target:
            self._put(max(self.ahead, due.when - time.monotonic()))
            if (under_way := due.fire()) is not None:
                await asyncio.wait((under_way,))
            for _ in range(_SETTLE):
                await asyncio.sleep(0)
        self._put(max(self.ahead, ahead))

    def _next(self) -> ManualTimer | None:
        return min((t for t in self._timers if t.pending), key=lambda timer: timer.when, default=None)

    def _put(self, ahead: float) -> None:
        self.ahead = ahead
        self._timers = [timer for timer in self._timers if timer.pending]
        for timer in self._timers:
            self._arm(timer)

    def _arm(self, timer: ManualTimer) -> None:
        if timer.handle is not None:
            timer.handle.cancel()
        timer.handle = asyncio.get_running_loop().call_later(max(0.0, timer.when - self.now()), timer.fire)
