"""What do faults do to an HTTP answer?"""

from __future__ import annotations

import asyncio

from fcemu.clock import until
from fcemu.faults.injected import Injected
from fcemu.faults.rules import Fault
from fcemu.gateway.exchange import Exchange

# ---- answers


async def begin_answer(exchange: Exchange, injected: Injected) -> None:
    """What happens to a request before the function gets it; what is for later is set up."""
    delays: list[float] = []

    def fire(fault: Fault) -> None:
        injected.record(fault)
        rule = fault.rule
        match rule.action:
            case "cut":
                exchange.interrupt("fault")
            case "crash":
                injected.crash()
            case "stall":
                injected.stalled = True
            case "bandwidth":
                injected.pace.bandwidth = rule.bandwidth or 0
            case "delay":
                assert rule.delay is not None
                delays.append(max(0.0, rule.delay + (rule.jitter or 0.0) * (2 * injected.chance(fault) - 1)))

    injected.fire = fire
    injected.burn(fire)
    if delays:
        await until(injected.clock, injected.clock.now() + sum(delays))
    await _stall(injected)


async def pass_answer(exchange: Exchange, size: int) -> None:
    """Bytes of an answer are about to go to the client."""
    injected = exchange.injected
    assert injected is not None
    for _, fault in injected.passed("toClient", size, ()):
        injected.fire(fault)
    await asyncio.sleep(0)  # where a cut takes effect
    await _stall(injected)
    if not injected.pace.idle:
        await until(injected.clock, injected.pace.due(size, injected.clock.now(), 0.5))


async def _stall(injected: Injected) -> None:
    """Stay until the client leaves or the time is up, if that is what happens."""
    if injected.stalled:
        await asyncio.get_running_loop().create_future()
