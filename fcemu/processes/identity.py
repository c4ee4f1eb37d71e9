"""Which process does a pid mean? Pids are reused; a pid together with the start time of its process is unique."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil


def identity(pid: int) -> str | None:
    """`pid:start` of a process; None if there is no such process or it has exited."""
    try:
        if sys.platform == "linux":
            # Ticks since boot, because wall time would change for a running process when the clock is set.
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            return f"{pid}:{int(fields[19])}" if fields[0] not in (b"Z", b"X") else None
        process = psutil.Process(pid)
        return f"{pid}:{process.create_time()}" if process.status() != psutil.STATUS_ZOMBIE else None
    except (OSError, psutil.Error):
        return None
