"""Which process a pid means."""

from __future__ import annotations

import os
import subprocess
import sys

from fcemu.processes.identity import identity


def test_identity_is_pid_and_start() -> None:
    """A process keeps its identity, which begins with its pid."""
    own = identity(os.getpid())
    assert own is not None
    assert own.startswith(f"{os.getpid()}:")
    assert identity(os.getpid()) == own


def test_process_that_has_exited_has_none() -> None:
    """A process that waits to be reaped has no identity any more, and neither has a pid without a process."""
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert identity(process.pid) is not None
        assert process.stdin is not None
        process.stdin.close()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert identity(process.pid) is None
    assert identity(process.pid) is None
