"""How is the command of `fcemu exec` run, so that none of its processes outlives it?

::

    fcemu exec ── watcher ── the command ── its descendants

The **watcher** is forked from `fcemu exec` before that has an event loop, threads or children, and waits. It is a child
subreaper, as the guard of an instance is (`keeper.py`): all descendants of the command stay its descendants. It kills
them when the command ends, or when the channel closes because `fcemu exec` died. The command has its own process group
in the terminal's session, and dies with the watcher (parent-death signal).

The command inherits stdin, stdout and stderr. It gets the terminal when it needs one, for a prompt or a shell. Ctrl-Z
suspends the command and `fcemu exec`, as a shell expects of a job.

Messages are JSON, one per line. To the watcher: the environment to start with, then signals. From the watcher: the
process group of the command, then its exit code, or the errno if it could not be executed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import select
import shutil
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from fcemu.errors import FcemuError
from fcemu.processes import keeper

_GRACE = 1.0
"""Seconds that the processes which the command has left running may take to end after SIGTERM."""

_OUTSIDE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTTOU)
"""Signals that `fcemu exec` handles, or that would suspend the watcher when it passes the terminal on."""


class CannotRun(FcemuError):
    """The command does not exist (exit code 127) or cannot be executed (126), as in shells."""

    def __init__(self, command: str, number: int) -> None:
        self.exit_code = 127 if number == errno.ENOENT else 126
        what = {
            errno.ENOENT: "command not found",
            errno.EISDIR: "this is a folder",
            errno.ENOEXEC: "not a program; does its first line say what runs it, such as #!/bin/sh?",
        }.get(number, os.strerror(number).lower())
        super().__init__(f"{command}: {what}")


def ensure_runnable(command: str, path: str) -> None:
    """Look for a program before it is run.

    Args:
        command: its name or path.
        path: the folders in which a name without a slash is searched, as in PATH.

    Raises:
        CannotRun: it does not exist or is not executable.
    """
    if shutil.which(command, path=path) is not None:
        return
    places = [command] if "/" in command else [os.path.join(folder, command) for folder in path.split(os.pathsep)]
    there = [place for place in places if os.path.exists(place)]
    if not there:
        raise CannotRun(command, errno.ENOENT)
    raise CannotRun(command, errno.EISDIR if os.path.isdir(there[0]) else errno.EACCES)


class Command:
    """A command that can be run once. Create it before there is an event loop or a thread.

    Args:
        argv: the program and its arguments.

    Raises:
        CannotRun: the program does not exist or is not executable.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        ensure_runnable(argv[0], os.environ.get("PATH", os.defpath))
        self._name = argv[0]
        self._channel, theirs = socket.socketpair()
        self._group: int | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        self._watcher = os.fork()
        if self._watcher == 0:
            self._channel.close()
            _watch(theirs, argv)
        theirs.close()
        self._channel.setblocking(False)

    async def start(self, environment: Mapping[str, str]) -> None:
        """Run the command.

        Args:
            environment: its whole environment.

        Raises:
            CannotRun: it could not be executed.
        """
        await asyncio.get_running_loop().sock_sendall(self._channel, _line(environment=dict(environment)))
        first = await self._message()
        if "errno" in first:
            raise CannotRun(self._name, first["errno"])
        self._group = first.get("group")

    async def wait(self) -> int:
        """Wait until the command has ended and all its descendants are gone.

        Returns:
            Its exit code; 128 + n if signal n terminated it.
        """
        last = await self._message()
        if "exit" not in last and self._group is not None:
            # The watcher was killed and the command died with it; kill the processes that it has started.
            keeper.kill_group(self._group, signal.SIGKILL)
        return int(last.get("exit", 128 + signal.SIGKILL))

    def send(self, signum: int) -> None:
        """Send a signal to the command's process group."""
        with contextlib.suppress(OSError):
            self._channel.send(_line(signal=signum))

    def close(self) -> None:
        """Kill what is left of it."""
        self._channel.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._watcher, 0)

    async def _message(self) -> dict[str, Any]:
        """The watcher's next message; empty if there will be none."""
        data = b""
        with contextlib.suppress(ConnectionError):
            while not data.endswith(b"\n") and (part := await asyncio.get_running_loop().sock_recv(self._channel, 1)):
                data += part
        return dict(json.loads(data)) if data else {}


def _line(**message: Any) -> bytes:
    return json.dumps(message).encode() + b"\n"


# ---- the watcher's side


def _watch(channel: socket.socket, argv: Sequence[str]) -> NoReturn:
    """Run the watcher."""
    try:
        inherited: dict[int, Any] = {signum: signal.getsignal(signum) for signum in (*_OUTSIDE, signal.SIGTSTP)}
        for signum in _OUTSIDE:
            signal.signal(signum, signal.SIG_IGN)
        keeper.prctl(keeper.PR_SET_CHILD_SUBREAPER, 1)
        if (start := _start_message(channel)) is not None:
            _run(channel, argv, start["environment"], inherited)
    finally:
        os._exit(0)


def _start_message(channel: socket.socket) -> dict[str, Any] | None:
    """The start message; None if `fcemu exec` ended without sending one."""
    data = b""
    while not data.endswith(b"\n"):
        if not (part := keeper.receive(channel)):
            return None
        data += part
    message: dict[str, Any] = json.loads(data)
    return message


def _run(
    channel: socket.socket, argv: Sequence[str], environment: Mapping[str, str], inherited: Mapping[int, Any]
) -> None:
    wake = keeper.wake_on_child()
    failed_read, failed_write = os.pipe()
    watcher = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(argv, environment, inherited, watcher, failed_write)
    with contextlib.suppress(OSError):  # parent and child both do it, so neither has to wait
        os.setpgid(pid, pid)
    os.close(failed_write)
    errno_text = os.read(failed_read, 16)  # EOF once exec has succeeded
    if errno_text:
        channel.sendall(_line(errno=int(errno_text)))
        return
    channel.sendall(_line(group=pid))
    job = _Job(pid)
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    poll.register(wake, select.POLLIN)
    pending = b""
    abandoned = False
    status = None
    while status is None:
        for fd, _ in poll.poll():
            if fd == wake:
                keeper.drain(wake)
                status = _reap(job)
            elif data := keeper.receive(channel):
                *lines, pending = (pending + data).split(b"\n")
                for message in map(json.loads, lines):
                    keeper.kill_group(pid, message["signal"])
            else:
                abandoned = True
                poll.unregister(channel)
                keeper.kill_group(pid, signal.SIGKILL)
    _end_rest(pid, 0.0 if abandoned else _GRACE)
    job.take_terminal()
    with contextlib.suppress(OSError):
        channel.sendall(_line(exit=keeper.exit_code(status)))


def _become(
    argv: Sequence[str], environment: Mapping[str, str], inherited: Mapping[int, Any], watcher: int, failed: int
) -> NoReturn:
    """In the child: execute the command. The errno of a failure is written to `failed`."""
    try:
        os.setpgid(0, 0)
        keeper.prctl(keeper.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != watcher:
            os._exit(1)  # the watcher died between fork and prctl
        signal.set_wakeup_fd(-1)
        for signum, handler in {**inherited, signal.SIGPIPE: None, signal.SIGCHLD: None}.items():
            # A signal that nohup ignores stays ignored.
            signal.signal(signum, signal.SIG_IGN if handler is signal.SIG_IGN else signal.SIG_DFL)
        os.execvpe(argv[0], list(argv), dict(environment))
    except OSError as error:
        os.write(failed, str(error.errno or errno.EIO).encode())
    finally:
        os._exit(126)


def _reap(job: _Job) -> int | None:
    """Reap children that have ended; returns the command's status if it is among them."""
    status = None
    with contextlib.suppress(ChildProcessError):
        while (change := os.waitpid(-1, os.WNOHANG | os.WUNTRACED))[0]:
            if change[0] != job.pid:
                continue
            if os.WIFSTOPPED(change[1]):
                job.stopped(os.WSTOPSIG(change[1]))
            else:
                status = change[1]
    return status


def _end_rest(group: int, grace: float) -> None:
    """Stop the processes that the command has left running."""
    if grace:
        keeper.kill_group(group, signal.SIGTERM)
        for pid in keeper.descendants(os.getpid()):
            keeper.kill(pid, signal.SIGTERM)
    until = time.monotonic() + grace
    while time.monotonic() < until:
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break  # no process is left
        time.sleep(0.005)
    keeper.kill_group(group, signal.SIGKILL)
    keeper.end_descendants()


class _Job:
    """The command as a job of the terminal, if there is a terminal."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._terminal: int | None = None
        with contextlib.suppress(OSError):
            self._terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
            # Ctrl-Z reaches the foreground group, which is ours until the command gets the terminal.
            signal.signal(signal.SIGTSTP, self._pass_on)

    def stopped(self, signum: int) -> None:
        """The command was suspended: give it the terminal, or suspend this process too, until it is continued."""
        if self._terminal is None or signum not in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
            return
        had_it = self._foreground() == self.pid
        if signum == signal.SIGTSTP or self._foreground() != os.getpgrp():
            self.take_terminal()
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            # The kernel does not suspend a group that no shell could continue.
            os.killpg(os.getpgrp(), signal.SIGTSTP)
            signal.signal(signal.SIGTSTP, self._pass_on)
        if self._foreground() == os.getpgrp() and (had_it or signum != signal.SIGTSTP):
            self._give_terminal(self.pid)
        keeper.kill_group(self.pid, signal.SIGCONT)

    def take_terminal(self) -> None:
        """Take the terminal back from the command."""
        if self._foreground() == self.pid:
            self._give_terminal(os.getpgrp())

    def _pass_on(self, signum: int, frame: object) -> None:
        keeper.kill_group(self.pid, signum)

    def _foreground(self) -> int | None:
        with contextlib.suppress(OSError):
            return os.tcgetpgrp(self._terminal) if self._terminal is not None else None
        return None

    def _give_terminal(self, group: int) -> None:
        with contextlib.suppress(OSError):
            os.tcsetpgrp(self._terminal or 0, group)
