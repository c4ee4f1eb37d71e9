"""What do faults do to an HTTP answer?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from fcemu.clock import until
from fcemu.faults.actions.action import ConnectionAction
from fcemu.faults.injected import Injected
from fcemu.faults.pace import Pace
from fcemu.faults.rules import Fault
from fcemu.gateway.exchange import Exchange


class FaultyAnswer:
    """An HTTP answer that faults happen to.

    Attributes:
        pace: how fast the answer passes.
        late: seconds to wait before the request, or the answer, goes on.
        crashed: set while the instance is being killed; done when it is dead.
        stopped: nothing goes on any more. The task ends when a cut, the client or the deadline cancels it.
    """

    def __init__(self, exchange: Exchange, injected: Injected) -> None:
        self.exchange = exchange
        self.injected = injected
        self.pace = Pace()
        self.late = 0.0
        self.crashed: Awaitable[object] | None = None
        self.stopped = False

    async def begin(self) -> None:
        """Let the faults without `after` happen; returns when the request may go to the function."""
        self.injected.begin(self._fire)
        await self._take_effect()

    async def passes(self, size: int) -> None:
        """Bytes of the answer arrived; returns when they may go to the client."""
        for _, fault in self.injected.passed("toClient", size, ()):
            self._fire(fault)
        await self._take_effect()
        if not self.pace.idle:
            clock = self.injected.clock
            await until(clock, self.pace.due(size, clock.now(), 0.5))

    def _fire(self, fault: Fault) -> None:
        action = fault.rule.action
        if isinstance(action, ConnectionAction):
            self.injected.record(fault)
            action.apply(AnswerFault(self, fault))

    async def _take_effect(self) -> None:
        """Wait until what has fired has happened."""
        if self.late:
            late, self.late = self.late, 0.0
            await until(self.injected.clock, self.injected.clock.now() + late)
        if self.crashed is not None:
            crashed, self.crashed = self.crashed, None
            await asyncio.shield(crashed)
        if self.stopped:
            await asyncio.get_running_loop().create_future()


class AnswerFault:
    """What one fault can do to an answer (`Connection` of faults/actions/action.py)."""

    def __init__(self, answer: FaultyAnswer, fault: Fault) -> None:
        self._answer = answer
        self._fault = fault

    def cut(self) -> None:
        """Cancel the exchange's task; it ends where it waits next."""
        self._answer.exchange.interrupt("fault")
        self._answer.stopped = True

    def crash(self) -> None:
        self._answer.crashed = self._answer.injected.crash()

    def stall(self) -> None:
        self._answer.stopped = True

    def delay(self, seconds: float, jitter: float) -> None:
        self._answer.late += Pace(seconds, jitter).due(0, 0.0, self._answer.injected.draw(self._fault))

    def limit(self, bandwidth: float) -> None:
        self._answer.pace.bandwidth = bandwidth
