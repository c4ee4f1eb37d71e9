"""A clock that a test advances."""

from __future__ import annotations

import asyncio

import pytest

from fcemu.clock import ManualClock, until


async def test_what_is_due_happens_in_order() -> None:
    """Timers fire in the order in which they are due, each at its time, in whatever order they were created."""
    clock = ManualClock()
    begun, wall = clock.now(), clock.wall_now()
    seen: list[tuple[str, int]] = []
    for name, after in (("day", 86400), ("minute", 60), ("hour", 3600), ("later", 90000)):
        clock.call_at(begun + after, lambda name=name: seen.append((name, round(clock.now() - begun))))  # type: ignore[misc]
    await clock.advance(86400)
    assert seen == [("minute", 60), ("hour", 3600), ("day", 86400)]
    assert clock.ahead == pytest.approx(86400)
    assert clock.wall_now() - wall == pytest.approx(86400, abs=60)


async def test_timer_that_is_made_on_the_way_fires_too() -> None:
    """A timer that another one creates fires in the same advance if it becomes due."""
    clock = ManualClock()
    seen: list[int] = []

    def again() -> None:
        seen.append(len(seen))
        clock.call_at(clock.now() + 10, again)

    clock.call_at(clock.now() + 10, again)
    await clock.advance(35)
    assert seen == [0, 1, 2]


async def test_who_waits_gets_to_act_before_the_next_timer() -> None:
    """Between two timers, the tasks that the first one woke can run."""
    clock = ManualClock()
    order: list[str] = []

    async def wait() -> None:
        await until(clock, clock.now() + 5)
        order.append("woke")

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    clock.call_at(clock.now() + 6, lambda: order.append("timer"))
    await clock.advance(10)
    await waiting
    assert order == ["woke", "timer"]


async def test_what_takes_real_time_is_waited_for() -> None:
    """If a timer starts real work, the next timer waits for it, and timers that the work creates fire, too."""
    clock = ManualClock()
    begun = clock.now()
    order: list[str] = []

    async def look() -> None:
        await asyncio.sleep(0.02)
        order.append(f"looked at {round(clock.now() - begun)}")
        again()

    def again() -> None:
        clock.call_at(clock.now() + 10, lambda: asyncio.create_task(look()))

    again()
    clock.call_at(begun + 15, lambda: order.append("timer"))
    await clock.advance(35)
    assert order == ["looked at 10", "timer", "looked at 20", "looked at 30"]


async def test_cancelled_timer_does_not_fire() -> None:
    """A cancelled timer does not fire, and no timer fires twice."""
    clock = ManualClock()
    seen: list[str] = []
    kept = clock.call_at(clock.now() + 1, lambda: seen.append("kept"))
    clock.call_at(clock.now() + 1, lambda: seen.append("lost")).cancel()
    await clock.advance(1)
    await clock.advance(1)
    kept.cancel()
    assert seen == ["kept"]


async def test_clock_runs_by_itself() -> None:
    """Without being advanced, the clock runs as usual; advancing it moves its timers."""
    clock = ManualClock()
    fired = asyncio.Event()
    clock.call_at(clock.now() + 30.02, fired.set)
    await clock.advance(30)
    assert not fired.is_set()
    await asyncio.wait_for(fired.wait(), 20)


async def test_time_does_not_go_backwards() -> None:
    """Advancing by nothing changes nothing."""
    clock = ManualClock()
    before = clock.now()
    await clock.advance(0)
    assert clock.now() >= before
