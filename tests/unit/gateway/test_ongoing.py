"""A set of what is going on can be waited for until it is empty."""

from __future__ import annotations

import asyncio

from fcemu.gateway.ongoing import Ongoing


async def test_empty_set_is_not_waited_for() -> None:
    """Nothing is going on: the wait is over at once."""
    assert await Ongoing[int]().emptied(0)


async def test_wait_is_over_when_the_last_member_has_gone() -> None:
    """All who wait go on when the last member is discarded, and not before."""
    ongoing: Ongoing[int] = Ongoing()
    ongoing.update((1, 2))
    waits = [asyncio.create_task(ongoing.emptied(30)) for _ in range(2)]
    await asyncio.wait(waits, timeout=0.01)
    ongoing.discard(1)
    await asyncio.wait(waits, timeout=0.01)
    assert not any(wait.done() for wait in waits)
    ongoing.discard(2)
    assert await asyncio.gather(*waits) == [True, True]


async def test_wait_is_given_up_after_its_time() -> None:
    """A member that stays is waited for no longer than asked; a later wait sees it go."""
    ongoing: Ongoing[int] = Ongoing()
    ongoing.add(1)
    assert not await ongoing.emptied(0.001)
    wait = asyncio.create_task(ongoing.emptied(30))
    await asyncio.sleep(0)
    ongoing.discard(1)
    assert await wait
    ongoing.add(2)
    assert not await ongoing.emptied(0.001)
