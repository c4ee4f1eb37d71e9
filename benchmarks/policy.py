"""What do all decisions about one invocation cost? In this process, without a network; in microseconds of CPU time.

The real classes in the order of `Gateway.handle`: read the head, check and route it, who guards it, admit it, a slot
from the scheduler, the meter, the journal, the deadline's timer; and at the end all of it back. Only the launcher is a
stand-in: its instance has no process.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from statistics import median
from typing import Any
from unittest.mock import patch

from fcemu.clock import SystemClock
from fcemu.faults.rules import Faults
from fcemu.gateway.deadlines import Deadlines
from fcemu.identifiers import request_id
from fcemu.instances.pool import InstancePool
from fcemu.instances.running import RunningInstance
from fcemu.journal import InvocationEnded, Journal
from fcemu.model import Account, Function
from fcemu.serving.printer import Printer
from fcemu.trigger import limits
from fcemu.trigger.admission import admit
from fcemu.trigger.authentication import Authenticators, redacted
from fcemu.trigger.request import RequestHead
from fcemu.trigger.routing import Router

_BATCH = 2000
"""Invocations that are timed together."""

_AT_ONCE = 16
"""Invocations in one round of the event loop; what is put off to its end, as the log is, is timed with them."""

_HEADERS = (
    (b"Host", b"bench.localhost"),
    (b"User-Agent", b"benchmarks"),
    (b"Accept", b"*/*"),
    (b"Accept-Encoding", b"gzip, deflate"),
    (b"Connection", b"keep-alive"),
)


class _Process:
    """A function's process, as far as the pool sees it."""

    frozen = False
    out_of_memory = False
    tail: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.exited: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def thaw(self) -> None:
        """It is never frozen."""

    def freeze(self) -> None:
        """It has nothing to stop."""

    def stop(self, grace: float) -> None:
        """It has no end to wait for."""


class _Launcher:
    """Has instances at once."""

    def __init__(self, *args: Any, **kw: Any) -> None:
        self.env_file: dict[str, str] = {}

    async def launch(self, function: Function, id: str) -> RunningInstance:
        process: Any = _Process()
        return RunningInstance(id, function, process, "127.0.0.1", 1)

    async def end(self, instance: RunningInstance, patience: float) -> None:
        """Nothing runs."""

    async def close(self) -> None:
        """Nothing runs."""

    def why_single_instance(self, function: str) -> None:
        """It can have as many as it likes."""


def price(account: Account, batches: int, *, log: bool) -> float:
    """Microseconds for one invocation: the median of batches.

    Args:
        account: its first function is asked, anonymously.
        log: print the log's lines as well, to nowhere.
    """
    try:
        from uvloop import new_event_loop  # the loop of `fcemu serve`, where it is installed
    except ImportError:
        new_event_loop = asyncio.new_event_loop  # type: ignore[assignment]
    with asyncio.Runner(loop_factory=new_event_loop) as runner, patch("fcemu.instances.pool.Launcher", _Launcher):
        return runner.run(_price(account, batches, log))


async def _price(account: Account, batches: int, log: bool) -> float:
    clock, journal = SystemClock(), Journal()
    router, authenticators = Router(account), Authenticators(account)
    pool = InstancePool(account, journal, clock, {}, Faults([], 0))
    deadlines = Deadlines(clock)
    errors = await pool.warm()
    assert not errors
    with open(os.devnull, "w") as nowhere:
        if log:
            journal.subscribe(Printer("text", nowhere).record)
        seconds = []
        for _ in range(batches + 1):
            began = time.process_time()
            for count in range(_BATCH):
                if count % _AT_ONCE == 0:
                    await asyncio.sleep(0)
                await _invoke(clock, journal, router, authenticators, pool, deadlines)
            seconds.append(time.process_time() - began)
        await pool.close()
        deadlines.close()
        await asyncio.sleep(0)
    return median(seconds[1:]) / _BATCH * 1e6


async def _invoke(
    clock: SystemClock,
    journal: Journal,
    router: Router,
    authenticators: Authenticators,
    pool: InstancePool,
    deadlines: Deadlines,
) -> None:
    """One invocation, without the bytes. Compare `Gateway.handle`, `_invoke` and `_finish`."""
    id, started = request_id(clock.wall_now(), random.getrandbits(96)), clock.now()
    head = RequestHead("GET", "/", _HEADERS)
    limits.enforce_message(head)
    route = router.route(head)
    authenticator = authenticators.of(route)
    assert authenticator is None
    assert not admit(route, head).preflight
    lease = await pool.acquire(route.function, id)
    deadlines.set(lease.started, route.function.timeout, _nothing).cancel()
    billed = lease.release()
    journal.write(
        InvocationEnded(
            wall_time=clock.wall_now(),
            request_id=id,
            function=route.function.functionName,
            qualifier=route.qualifier,
            method=head.method,
            target=redacted(head.target, authenticator),
            kind="http",
            status=200,
            duration=clock.now() - started,
            instance_id=lease.instance.id,
            cold_start=lease.cold_start,
            billed_ms=billed,
        )
    )


def _nothing() -> None:
    """What happens at a deadline that is never reached."""
