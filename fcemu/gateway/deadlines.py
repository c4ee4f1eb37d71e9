"""When is a request's time up? Every request has a deadline and few reach it, so one timer serves all."""

from __future__ import annotations

from collections.abc import Callable

from fcemu.clock import Clock, Timer


class Deadline:
    """The end of one request's time. It can be cancelled.

    Attributes:
        on_reached: called at the deadline; it may be replaced.
        when: monotonic seconds.
    """

    __slots__ = ("_among", "on_reached", "when")

    def __init__(self, when: float, on_reached: Callable[[], None], among: dict[Deadline, None]) -> None:
        self.when = when
        self.on_reached = on_reached
        self._among = among
        among[self] = None

    def cancel(self) -> None:
        """Do not call back. Does nothing after the deadline."""
        self._among.pop(self, None)


class Deadlines:
    """The deadlines of all requests. Those of one length are reached in the order in which they were set.

    Args:
        clock: the source of time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._of_length: dict[float, dict[Deadline, None]] = {}
        self._timer: Timer | None = None
        self._due = float("inf")

    def set(self, begun: float, length: float, on_reached: Callable[[], None]) -> Deadline:
        """Call back at a deadline.

        Args:
            begun: monotonic seconds at which the time begins; not earlier than in any call before.
            length: seconds until the deadline.
        """
        among = self._of_length.get(length)
        if among is None:
            among = self._of_length[length] = {}
        deadline = Deadline(begun + length, on_reached, among)
        if deadline.when < self._due:
            self._arm(deadline.when)
        return deadline

    def close(self) -> None:
        """Drop all deadlines."""
        self._of_length.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due, self._timer = when, self._clock.call_at(when, self._on_due)

    def _on_due(self) -> None:
        self._due, self._timer = float("inf"), None
        now = self._clock.now()
        for among in self._of_length.values():
            while among and (first := next(iter(among))).when <= now:
                first.cancel()
                first.on_reached()
        # The timer may have been early: most deadlines are cancelled before it runs, and it is not moved for that.
        due = min((next(iter(among)).when for among in self._of_length.values() if among), default=None)
        if due is not None:
            self._arm(due)
