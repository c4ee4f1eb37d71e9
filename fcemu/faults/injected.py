"""Which faults happen to one invocation, and when does each of them fire?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from fcemu.clock import Clock, Timer
from fcemu.faults.fuse import Fuse, fired
from fcemu.faults.pace import Direction
from fcemu.faults.rules import Fault, Faults


class Injected:
    """The faults that happen to one invocation.

    Args:
        faults: the rules of the run, which draw by chance.
        happening: those that happen to this invocation.
        record: called for each fault that fires.
        crash: kills the instance; what it returns is done when the instance is dead.
    """

    def __init__(
        self,
        faults: Faults,
        happening: Sequence[Fault],
        clock: Clock,
        record: Callable[[Fault], None],
        crash: Callable[[], Awaitable[object]],
    ) -> None:
        self.clock = clock
        self.record = record
        self.crash = crash
        self._faults = faults
        self._happening = happening
        self._fuses: list[tuple[Fuse, Fault]] = []
        self._timers: list[Timer] = []
        self._drawn = 0
        self._last_traffic = 0.0

    def begin(self, fire: Callable[[Fault], None]) -> None:
        """Fire the faults without `after` at once, and the others when their time comes; see also `passed`.

        Args:
            fire: carries a fault out.
        """
        self.traffic()
        for fault in self._happening:
            rule = fault.rule
            if rule.action.idle_for is not None:
                self._watch(fault, rule.action.idle_for, fire)
            elif rule.after is None:
                fire(fault)
            else:
                fuse = Fuse(rule.after, rule.direction)
                self._fuses.append((fuse, fault))
                if rule.after.seconds is not None:
                    self.at(self.clock.now() + rule.after.seconds, partial(_time_is_up, fuse, fault, fire))

    def traffic(self) -> None:
        """Bytes have arrived from either side."""
        self._last_traffic = self.clock.now()

    def passed(self, direction: Direction, size: int, ends: Sequence[int]) -> list[tuple[int, Fault]]:
        """The faults that fire while bytes pass, each with how many of the bytes pass before it.

        Args:
            size: the number of bytes.
            ends: where messages end among them.
        """
        return fired(self._fuses, direction, size, ends)

    def draw(self, fault: Fault) -> float:
        """The next number that is drawn for a fault, 0 to 1."""
        self._drawn += 1
        return self._faults.chance(fault, -self._drawn)

    def at(self, when: float, callback: Callable[[], None]) -> None:
        """Call back at a time of the clock, unless the invocation is over by then."""
        self._timers.append(self.clock.call_at(when, callback))

    def close(self) -> None:
        """The invocation is over."""
        for timer in self._timers:
            timer.cancel()

    def _watch(self, fault: Fault, idle_for: float, fire: Callable[[Fault], None]) -> None:
        """Fire when there has been no traffic for long enough."""

        def look() -> None:
            if self._last_traffic + idle_for > self.clock.now():
                self._watch(fault, idle_for, fire)
            else:
                fire(fault)

        self.at(self._last_traffic + idle_for, look)


def _time_is_up(fuse: Fuse, fault: Fault, fire: Callable[[Fault], None]) -> None:
    if fuse.burn():
        fire(fault)
