"""What time is it, and when is a timer due?

There are two times, which are never mixed: `now()` is in monotonic seconds, for deadlines, idle times and billing;
`wall_now()` is in seconds since 1970 UTC, for what is printed or signed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

Due = Callable[[], "asyncio.Future[None] | None"]
"""A timer's callback. If it returns a future, `ManualClock.advance` waits for that before the next timer fires."""


class Timer(Protocol):
    """A callback that is due once and can be cancelled."""

    def cancel(self) -> None:
        """Do not call back."""
        ...


class Clock(Protocol):
    """The only source of time: everything that waits or measures uses one."""

    def now(self) -> float:
        """Monotonic seconds."""
        ...

    def wall_now(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        ...

    def call_at(self, when: float, callback: Due) -> Timer:
        """Call back once `now()` reaches `when`."""
        ...


async def until(clock: Clock, when: float) -> None:
    """Wait until a clock's `now()` reaches `when`."""
    due: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    timer = clock.call_at(when, lambda: None if due.done() else due.set_result(None))
    try:
        await due
    finally:
        timer.cancel()


class SystemClock:
    """The machine's clocks. Timers run on the running event loop."""

    now = staticmethod(time.monotonic)
    wall_now = staticmethod(time.time)

    def call_at(self, when: float, callback: Due) -> Timer:
        return asyncio.get_running_loop().call_later(max(0.0, when - self.now()), callback)


_SETTLE = 10
"""Rounds of the event loop in which the tasks that a timer has woken act. There is no event that would show the end."""


class ManualTimer:
    """A timer of a `ManualClock`."""

    def __init__(self, when: float, callback: Due) -> None:
        self.when = when
        self.handle: asyncio.TimerHandle | None = None
        self._callback: Due | None = callback

    def cancel(self) -> None:
        """Do not call back."""
        self._callback = None
        if self.handle is not None:
            self.handle.cancel()

    @property
    def pending(self) -> bool:
        """Whether it has neither fired nor been cancelled."""
        return self._callback is not None

    def fire(self) -> asyncio.Future[None] | None:
        """Call back, if it has not happened yet; returns the result of the callback."""
        callback, self._callback = self._callback, None
        return callback() if callback is not None else None


class ManualClock:
    """The machine's clocks, which a test can advance: timers that become due fire at once, in order.

    The clock keeps running, so code that never advances it sees real time. Use it from one event loop.
    """

    def __init__(self) -> None:
        self.ahead = 0.0
        """Seconds by which it has been advanced."""
        self._timers: list[ManualTimer] = []

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic() + self.ahead

    def wall_now(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return time.time() + self.ahead

    def call_at(self, when: float, callback: Due) -> Timer:
        """Call back once `now()` reaches `when`, because time passes or because the clock is advanced."""
        timer = ManualTimer(when, callback)
        self._arm(timer)
        self._timers = [timer, *(other for other in self._timers if other.pending)]
        return timer

    async def advance(self, seconds: float) -> None:
        """Advance the clock; returns once every timer that is due has fired and its callback has had time to act.

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
