"""Faults of an HTTP answer."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fcemu.clock import SystemClock
from fcemu.faults.injected import Injected
from fcemu.faults.rules import Fault, Faults
from fcemu.gateway.faulty_answer import FaultyAnswer
from fcemu.model import FaultRule


class Case:
    """An answer that one rule happens to, with what became of it."""

    def __init__(self, **keys: Any) -> None:
        self.dead: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.fired: list[str] = []
        self.interrupted: list[str] = []
        faults = Faults([FaultRule.model_validate(keys)])
        exchange = SimpleNamespace(interrupt=self.interrupted.append)
        injected = Injected(faults, faults.faults, SystemClock(), self.record, lambda: self.dead)
        self.answer = FaultyAnswer(cast(Any, exchange), injected)

    def record(self, fault: Fault) -> None:
        """Note that a fault fired."""
        self.fired.append(fault.name)


async def rounds(task: asyncio.Task[None]) -> bool:
    """Whether a task is done after some rounds of the event loop."""
    for _ in range(5):
        await asyncio.sleep(0)
    return task.done()


async def test_request_waits_until_the_instance_is_dead() -> None:
    """A request whose instance is to crash does not reach it before it is dead."""
    case = Case(crash=True)
    begun = asyncio.create_task(case.answer.begin())
    assert not await rounds(begun)
    case.dead.set_result(None)
    await begun
    assert case.fired == ["crash"]


async def test_answer_waits_until_the_instance_is_dead() -> None:
    """A crash after some bytes has happened before the bytes go on."""
    case = Case(crash=True, after={"bytes": 10})
    await case.answer.begin()
    await case.answer.passes(9)
    assert case.fired == []
    passing = asyncio.create_task(case.answer.passes(1))
    assert not await rounds(passing)
    case.dead.set_result(None)
    await passing


@pytest.mark.parametrize(("keys", "interrupted"), [({"cut": True}, ["fault"]), ({"stall": True}, [])])
async def test_nothing_goes_on(keys: dict[str, Any], interrupted: list[str]) -> None:
    """After a cut or a stall nothing goes on until the task is cancelled: by the cut itself, a client or a deadline."""
    case = Case(**keys)
    begun = asyncio.create_task(case.answer.begin())
    assert not await rounds(begun)
    assert case.interrupted == interrupted
    begun.cancel()
    with pytest.raises(asyncio.CancelledError):
        await begun


async def test_fault_of_sockets_does_not_happen_to_an_answer() -> None:
    """A request that is answered as a plain one is not hit by a rule for sockets, and nothing says that it was."""
    case = Case(close=1011)
    await case.answer.begin()
    assert case.fired == []
