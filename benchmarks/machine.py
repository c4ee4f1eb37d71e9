"""What do the measurements run on? Compiled programs, cores, files that may be open, free ports."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO


class Unable(Exception):
    """This machine cannot run the benchmarks; the text says why."""


class Failed(Exception):
    """A run went wrong, so that its figures mean nothing."""


class Missing(Exception):
    """A front cannot be measured here; the text says why."""


@dataclass(frozen=True)
class Machine:
    """What every part of a run needs.

    Attributes:
        folder: for what is made on the way; a temporary one.
        front_core: where fronts run; None on a machine with one core.
        client_core: where clients and backends run.
    """

    folder: Path
    front_core: int | None
    client_core: int | None

    @property
    def backend(self) -> Path:
        return self.folder / "backend"

    @property
    def load(self) -> Path:
        return self.folder / "load"

    def start(
        self,
        argv: Sequence[str | Path],
        core: int | None,
        *,
        stdin: int | IO[str] | None = subprocess.DEVNULL,
        stdout: int | IO[str] | None = None,
        stderr: int | IO[str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Start a program on a core."""

        def pin() -> None:
            if core is not None:
                os.sched_setaffinity(0, {core})

        return subprocess.Popen(
            [str(part) for part in argv],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env={**os.environ, **(env or {})},
            text=True,
            preexec_fn=pin,
        )


def prepared(folder: Path) -> Machine:
    """Compile the C programs into a folder, and let this process and what it starts open as many files as it may.

    Raises:
        Unable: there is no Linux, no compiler, or it fails.
    """
    if not Path("/proc/self/stat").exists() or not hasattr(os, "sched_setaffinity"):
        raise Unable("the benchmarks need Linux: they read /proc and use epoll")
    if shutil.which("cc") is None:
        raise Unable("the benchmarks need a C compiler, and there is no `cc`: apt-get install gcc libc6-dev")
    for name in ("backend", "load"):
        source = Path(__file__).with_name(f"{name}.c")
        made = subprocess.run(["cc", "-O2", "-o", folder / name, source], capture_output=True, text=True)
        if made.returncode:
            raise Unable(f"{source.name} does not compile:\n{made.stderr}")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return Machine(folder, None, None)
    return Machine(folder, cores[-1], cores[0])


def free_port() -> int:
    """A port that nobody has; for programs that cannot choose one themselves and say which."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def stop(process: subprocess.Popen[str], seconds: float = 20.0) -> None:
    """End a program that was started here, kindly at first, and wait for it."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
