"""Which faults happen to one invocation?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from fcemu.clock import Clock, Timer
from fcemu.faults.pace import Direction, Fuse, Pace
from fcemu.faults.rules import Fault, Faults


class Injected:
    """The faults that happen to one invocation.

    Args:
        fired: told each one that fires.
        crash: ends the instance.

    Attributes:
        pace: how slowly an answer passes.
        stalled: it does not pass any more.
        fire: carries out one that happens to an answer.
    """

    def __init__(
        self,
        faults: Faults,
        happening: Sequence[Fault],
        clock: Clock,
        fired: Callable[[Fault], None],
        crash: Callable[[], None],
    ) -> None:
        self.faults = faults
        self.happening = happening
        self.clock = clock
        self.crash = crash
        self.fuses: list[tuple[Fuse, Fault]] = []
        self.pace = Pace()
        self.stalled = False
        self.fire: Callable[[Fault], None]
        self._fired = fired
        self._timers: list[Timer] = []
        self._drawn = 0

    def burn(self, fire: Callable[[Fault], None], later: Callable[[Fault], bool] = lambda fault: False) -> None:
        """Begin: what has no `after` fires, seconds and bytes are counted for the others.

        Args:
            fire: carries a fault out.
            later: those that are none of this.
        """
        for fault in self.happening:
            after = fault.rule.after
            if later(fault):
                continue
            if after is None:
                fire(fault)
                continue
            fuse = Fuse(after, fault.rule.direction)
            self.fuses.append((fuse, fault))
            if after.seconds is not None:
                self.at(self.clock.now() + after.seconds, partial(_time_up, fuse, fault, fire))

    def passed(self, direction: Direction, size: int, ends: Sequence[int]) -> list[tuple[int, Fault]]:
        """What fires while bytes pass, and behind how many of them."""
        found = [(fuse.passed(direction, size, ends), fault) for fuse, fault in self.fuses]
        return sorted(((at, fault) for at, fault in found if at is not None), key=lambda pair: pair[0])

    def record(self, fault: Fault) -> None:
        """A fault fires."""
        fault.fired += 1
        self._fired(fault)

    def chance(self, fault: Fault | None) -> float:
        """The next number that is drawn for a fault."""
        self._drawn += 1
        return self.faults.chance(fault, -self._drawn) if fault is not None else 0.5

    def at(self, when: float, callback: Callable[[], None]) -> None:
        """Call back then, unless it is over."""
        self._timers.append(self.clock.call_at(when, callback))

    def close(self) -> None:
        """The invocation is over."""
        for timer in self._timers:
            timer.cancel()


def _time_up(fuse: Fuse, fault: Fault, fire: Callable[[Fault], None]) -> None:
    if not fuse.burnt:
        fuse.burnt = True
        fire(fault)
