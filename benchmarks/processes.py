"""How much of the machine do processes use? Their CPU time and memory, from /proc."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of processes, all threads together, in seconds."""
    return sum(map(_cpu_seconds, pids))


def _cpu_seconds(pid: int) -> float:
    """Nanoseconds on a core from schedstat where the kernel counts them; else ticks, usually of 10 ms.

    Threads that have ended are in the ticks only. No front here ends a thread while it is measured.
    """
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        with contextlib.suppress(FileNotFoundError):
            if (spent := sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)) > 0:
                return spent / 1e9
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICK


def private_bytes(pids: Iterable[int]) -> int:
    """Memory that processes have for themselves: private pages, clean and dirty, in bytes."""
    total = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it is gone; its client will know
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(("Private_Clean:", "Private_Dirty:")):
                    total += int(line.split()[1]) * 1024
    return total


def running(program: Path) -> list[int]:
    """Every process that runs this program."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "exe").readlink() == program:
                    found.append(int(entry.name))
    return found


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*"):
            with contextlib.suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found
