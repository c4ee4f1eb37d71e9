"""A running `fcemu serve`, and what is left of it afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil

Served = Callable[..., Awaitable["Fcemu"]]
Address = tuple[str, int]


def listening(pids: Iterable[int]) -> set[Address]:
    """Where these processes listen."""
    found: set[Address] = set()
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            connections = psutil.Process(pid).net_connections("tcp")
            found |= {(c.laddr.ip, c.laddr.port) for c in connections if c.status == psutil.CONN_LISTEN}
    return found


def is_listened_at(address: Address) -> bool:
    """Whether anybody listens there, known to us or not."""
    with contextlib.suppress(OSError), socket.create_connection(address, timeout=5):
        return True
    return False


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs; one that waits to be reaped does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


async def left(
    processes: Iterable[psutil.Process], addresses: Collection[Address] = ()
) -> list[psutil.Process | Address]:
    """What is still there after a generous wait: of processes, and of addresses that somebody listened at."""
    until = time.monotonic() + 20
    while True:
        found: list[psutil.Process | Address] = [process for process in processes if is_alive(process)]
        if not found:
            found += [address for address in addresses if is_listened_at(address)]
        if not found or time.monotonic() > until:
            return found
        await asyncio.sleep(0.01)


class Fcemu:
    """A running `fcemu serve`."""

    def __init__(self, process: asyncio.subprocess.Process, pids: Path) -> None:
        self.process = process
        self.facts: dict[str, Any] = {}
        self._pids = pids
        self._family: dict[psutil.Process, None] = {}

    @property
    def url(self) -> str:
        """Its own address."""
        return str(self.facts["url"])

    @property
    def port(self) -> int:
        """The port of that."""
        return int(self.facts["port"])

    def keeper(self) -> psutil.Process:
        """Its keeper."""
        (keeper,) = [child for child in psutil.Process(self.process.pid).children() if is_alive(child)]
        return keeper

    def family(self) -> list[psutil.Process]:
        """Every process that it has started up to now, whatever became of it and of its parents."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._family |= dict.fromkeys(psutil.Process(self.process.pid).children(recursive=True))
        known = {process.pid for process in self._family}
        noted = self._pids.read_text().split() if self._pids.exists() else []
        for pid in {int(pid) for pid in noted} - known:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._family[psutil.Process(pid)] = None
        return list(self._family)

    def addresses(self) -> set[Address]:
        """Where it and its functions listen."""
        return listening({self.process.pid, *(process.pid for process in self.family())})

    async def left_after(self, signum: signal.Signals, *killed: psutil.Process) -> list[psutil.Process | Address]:
        """What it leaves behind when it gets a signal and others SIGKILL; how long the rest took is printed."""
        family, addresses = self.family(), self.addresses()
        begun = time.perf_counter()
        for process in killed:
            process.kill()
        self.process.send_signal(signum)
        await self.process.wait()
        found = await left(family, addresses)
        print(f"gone after {time.perf_counter() - begun:.3f} s: {len(family)} processes, {sorted(addresses)}")
        return found

    async def instance(self) -> str:
        """The instance that answers a request to nasty.py."""
        async with aiohttp.ClientSession() as client, client.get(self.url) as response:
            assert response.status == 200
            return await response.text()

    async def output(self) -> str:
        """All that it printed, until its end."""
        assert self.process.stdout is not None
        return (await self.process.stdout.read()).decode()

    async def end(self) -> None:
        """End what is left of it, should a test have failed."""
        family = self.family() if self.process.returncode is None else list(self._family)
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()  # to the end of its output, so that no pipe is left open
        await left(family)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


@contextlib.contextmanager
def uncollected() -> Iterator[list[str]]:
    """Names of our types of which something was left meanwhile that only the garbage collector would free."""
    found: list[str] = []
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        types = [type(left) for left in gc.garbage]
        found += [kind.__qualname__ for kind in types if kind.__module__.startswith(("fcemu", "httptools"))]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
