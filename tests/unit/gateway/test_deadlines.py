"""The deadlines of many requests, and their one timer."""

from __future__ import annotations

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from fcemu.clock import Due, Timer
from fcemu.gateway.deadlines import Deadline, Deadlines


class Called:
    """A timer of `Time`."""

    def __init__(self, when: float, callback: Due) -> None:
        self.when = when
        self.callback: Due | None = callback

    def cancel(self) -> None:
        """Cancel the timer."""
        self.callback = None


class Time:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.at = 0.0
        self.timers: list[Called] = []

    def now(self) -> float:
        return self.at

    def wall_now(self) -> float:
        return self.at

    def call_at(self, when: float, callback: Due) -> Timer:
        self.timers.append(Called(when, callback))
        return self.timers[-1]

    def pass_until(self, at: float) -> None:
        """Advance the time, and call back the timers that become due."""
        while due := [timer for timer in self.timers if timer.callback is not None and timer.when <= at]:
            first = min(due, key=lambda timer: timer.when)
            self.at = max(self.at, first.when)
            callback, first.callback = first.callback, None
            assert callback is not None
            callback()
        self.at = at


@given(st.lists(st.tuples(st.sampled_from([1.0, 5.0, 60.0]), st.integers(0, 20), st.integers(0, 90)), max_size=30))
def test_each_is_reached_at_its_time_unless_it_was_called_off(requests: list[tuple[float, int, int]]) -> None:
    """Every request that is still open at its deadline is reported, at that time."""
    clock = Time()
    deadlines = Deadlines(clock)
    reached: dict[int, float] = {}
    open_ones: dict[int, Deadline] = {}
    expected: dict[int, float] = {}
    events: list[tuple[float, int, int]] = []
    for number, (length, after, lasts) in enumerate(requests):
        events += [(after, 0, number), (after + lasts + 0.5, 1, number)]
        if after + length < after + lasts + 0.5:
            expected[number] = after + length

    def note(number: int) -> None:
        reached[number] = clock.now()

    for at, ends, number in sorted(events):
        clock.pass_until(at)
        if ends:
            open_ones[number].cancel()
        else:
            length = requests[number][0]
            open_ones[number] = deadlines.set(at, length, partial(note, number))
    clock.pass_until(1000)
    assert reached == expected


def test_one_timer_serves_all() -> None:
    """A thousand requests that end in time share one timer, and the last one leaves none that matters."""
    clock = Time()
    deadlines = Deadlines(clock)
    for number in range(1000):
        clock.at = number / 1000
        deadlines.set(clock.at, 60.0, lambda: None).cancel()
    assert len(clock.timers) == 1
    clock.pass_until(100)
    assert [timer for timer in clock.timers if timer.callback is not None] == []


def test_nothing_is_reached_once_it_is_closed() -> None:
    """After `close`, no deadline is reported."""
    clock = Time()
    deadlines = Deadlines(clock)
    reached: list[str] = []
    deadlines.set(0.0, 1.0, lambda: reached.append("too late"))
    deadlines.close()
    clock.pass_until(10)
    assert reached == []
