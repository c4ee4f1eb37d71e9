"""How much memory does an instance use, and is it too much?

Where a control group can be made, the kernel enforces the limit (`cgroups.py`). Elsewhere the memory is measured four
times a second. Resident memory counts a shared page once for each process that shares it, so an excess is confirmed by
the proportional share (PSS) before the instance is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable

import psutil

from fcemu.clock import Clock, Timer
from fcemu.processes import keeper
from fcemu.processes.process import FunctionProcess

LOOK_EVERY = 0.25
"""Seconds."""

_LINUX = sys.platform == "linux"
_PAGE = os.sysconf("SC_PAGE_SIZE")


def memory_mb(guard: int | None) -> float:
    """Resident memory of all processes below a guard in MB. A shared page counts once for each process; 0 for None."""
    return _sum_mb(guard, _resident)


def proportional_mb(guard: int | None) -> float:
    """The same, but a shared page is divided among its processes. Reading it takes 20 ms for each GB.

    Outside Linux, the memory that each process does not share.
    """
    return _sum_mb(guard, _proportional)


class MemoryWatch:
    """Kills instances that exceed their memory limit, where the kernel does not. One timer measures all of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._limits: dict[FunctionProcess, int] = {}
        self._confirming: dict[FunctionProcess, asyncio.Task[None]] = {}
        self._timer: Timer | None = None

    def add(self, process: FunctionProcess, limit_mb: int) -> None:
        """Watch a process until it exits. If it exceeds the limit, its `out_of_memory` is set and it is killed."""
        self._limits[process] = limit_mb
        process.exited.add_done_callback(lambda _: self._limits.pop(process, None))
        self._schedule()

    def close(self) -> None:
        """Stop watching."""
        self._limits.clear()
        for task in self._confirming.values():
            task.cancel()
        if self._timer is not None:
            self._timer.cancel()

    def _schedule(self) -> None:
        if self._timer is None and self._limits:
            self._timer = self._clock.call_at(self._clock.now() + LOOK_EVERY, self._look)

    def _look(self) -> None:
        self._timer = None
        for process, limit in self._limits.items():
            # A frozen process does not use more.
            if not process.frozen and process not in self._confirming and memory_mb(process.guard) > limit:
                self._confirming[process] = asyncio.get_running_loop().create_task(self._confirm(process, limit))
        self._schedule()

    async def _confirm(self, process: FunctionProcess, limit: int) -> None:
        used = await asyncio.to_thread(proportional_mb, process.guard)
        del self._confirming[process]
        if used > limit and process in self._limits:
            process.out_of_memory = True
            process.kill()


def _sum_mb(guard: int | None, measure: Callable[[int], int]) -> float:
    total = 0
    for pid in _tree(guard) if guard is not None else ():
        with contextlib.suppress(OSError, psutil.Error):
            total += measure(pid)
    return total / 2**20


def _tree(guard: int) -> list[int]:
    if _LINUX:
        return keeper.descendants(guard)
    with contextlib.suppress(psutil.Error):
        return [process.pid for process in psutil.Process(guard).children(recursive=True)]
    return []


def _resident(pid: int) -> int:
    if not _LINUX:
        resident: int = psutil.Process(pid).memory_info().rss
        return resident
    with open(f"/proc/{pid}/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE


def _proportional(pid: int) -> int:
    if not _LINUX:
        own: int = psutil.Process(pid).memory_full_info().uss
        return own
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith(b"Pss:")), 0)
    except PermissionError:
        return _resident(pid)  # the process has changed its user
