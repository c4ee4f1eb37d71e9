"""How does the event loop see a function's process tree? Through the keeper: spawn, output, freeze, stop, exit."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from fcemu.processes import keeper
from fcemu.processes.cgroups import NO_GROUPS, Groups

Stream = Literal["stdout", "stderr"]

LINE_LIMIT = 32 * 1024
"""Bytes of a log line; a longer one is cut into several (fc-semantics 5.1)."""


class Exit(NamedTuple):
    """How a function's process ended."""

    code: int
    """Exit code; 128 + the signal's number if a signal ended it, as 137 where the memory limit did."""
    peak_memory_mb: float


class Keeper:
    """The keeper process, started at the first spawn and again should it have died.

    It must be used from one event loop only.
    """

    def __init__(self) -> None:
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def spawn(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        on_line: Callable[[Stream, str], None],
        ask: bool = False,
        groups: Groups = NO_GROUPS,
    ) -> FunctionProcess:
        """Ask for a process; whether it came to life is known from `FunctionProcess.started()`.

        Args:
            ask: be asked about its binds and listens; `FunctionProcess.listener()` is where the questions come.
            groups: control groups that were made for it; it enters them before it is executed, and they end with it.
        """
        ours, theirs = socket.socketpair()
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        start = {"argv": list(argv), "env": dict(env), "cwd": str(cwd), "filter": ask, "groups": groups.folders}
        try:
            self._send(json.dumps(start).encode(), [theirs.fileno(), out_write, err_write])
        except OSError:
            keeper.end_groups(groups.folders)
            raise
        finally:
            theirs.close()
            os.close(out_write)
            os.close(err_write)
        return FunctionProcess(ours, {"stdout": out_read, "stderr": err_read}, on_line, groups)

    def _send(self, payload: bytes, fds: list[int]) -> None:
        for attempt in (1, 2):
            channel = self._channel or self._start()
            try:
                socket.send_fds(channel, [keeper.HEADER.pack(len(payload))], fds)
                channel.sendall(payload)
                return
            except OSError:
                self.close()
                if attempt == 2:
                    raise

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        # -I -S: the keeper needs the standard library alone, and must not import the user's modules.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper.__file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # whoever reads ours must see its end when we end
        )
        theirs.close()
        self._channel = ours
        return ours

    def close(self, seconds: float = 15.0) -> None:
        """End the keeper; the guards end their functions first. Blocks for as long as that takes."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


class FunctionProcess:
    """One function's process and all its descendants, watched by a guard.

    Attributes:
        exited: done with an `Exit` when the whole tree is gone.
        pid: of the function's own process, once started.
        guard: the process that all others of the instance descend from, once started.
        tail: its last lines of output.
        frozen: the tree stands still, or is about to.
        out_of_memory: the instance is ended because of its memory limit; certain when `exited` is done.
    """

    def __init__(
        self,
        channel: socket.socket,
        pipes: dict[Stream, int],
        on_line: Callable[[Stream, str], None],
        groups: Groups = NO_GROUPS,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.pid: int | None = None
        self.guard: int | None = None
        self.frozen = False
        self.out_of_memory = False
        self.exited: asyncio.Future[Exit] = loop.create_future()
        self.tail: deque[str] = deque(maxlen=40)
        self._on_line = on_line
        self._groups = groups
        self._stopping = False
        self._started: asyncio.Future[None] = loop.create_future()
        self._listener: asyncio.Future[int] = loop.create_future()
        self._loop = loop
        self._channel = channel
        self._pending = b""
        self._exit: Exit | None = None
        self._partial: dict[Stream, bytes] = {}
        self._pipes = pipes
        channel.setblocking(False)
        loop.add_reader(channel, self._on_message)
        for stream, fd in pipes.items():
            os.set_blocking(fd, False)
            loop.add_reader(fd, self._on_output, stream, fd)

    async def started(self) -> None:
        """Wait until the command runs.

        Raises:
            OSError: it could not be executed; `errno` says why.
        """
        await asyncio.shield(self._started)

    async def listener(self) -> int:
        """The descriptor by which the kernel asks about its binds; the caller's to close.

        Raises:
            OSError: the filter could not be installed, or the process did not get that far.
        """
        return await asyncio.shield(self._listener)

    def stop(self, grace: float) -> None:
        """SIGTERM to the function's group; after `grace` seconds SIGKILL to all that is left of it. It thaws first."""
        self._stopping = True
        self.frozen = False
        self._tell(stop=grace)

    def kill(self) -> None:
        """SIGKILL to the whole tree, now."""
        self.stop(0)

    def freeze(self) -> None:
        """Let no process of the tree run until it is thawed or stopped (D/04/040); nothing before it has started.

        It does not wait until they stand still.
        """
        if self.pid is not None:
            self._set_frozen(True)

    def thaw(self) -> None:
        """Let the tree go on where it was frozen."""
        self._set_frozen(False)

    def _set_frozen(self, frozen: bool) -> None:
        if frozen == self.frozen or self._stopping:
            return
        self.frozen = frozen
        if self._groups.freezer is not None:
            keeper.set_frozen(str(self._groups.freezer), frozen)
        else:
            self._tell(freeze=frozen)

    def _tell(self, **message: object) -> None:
        with contextlib.suppress(OSError):
            self._channel.send(json.dumps(message).encode() + b"\n")

    def _on_message(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self._channel, 4096, 1)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "pid" in message:
                self.pid, self.guard = message["pid"], message["guard"]
                if not self._started.done():
                    self._started.set_result(None)
            elif "filter" in message:
                self._take_listener(fds, message["filter"])
            elif "errno" in message:
                self._fail_start(OSError(message["errno"], os.strerror(message["errno"])))
                self._exit = Exit(127, 0.0)
            else:
                # ru_maxrss is in KB on Linux, in bytes on macOS.
                unit = 1024 if sys.platform == "linux" else 1024 * 1024
                self.out_of_memory = self.out_of_memory or message["oom"]
                self._exit = Exit(137 if self.out_of_memory else message["exit"], message["peak"] / unit)
        if not data and self._exit is None:
            # A guard that says nothing at its end was killed; its function went with it.
            self._fail_start(OSError(0, "the process that watches the function was killed"))
            self._exit = Exit(137, 0.0)
        if self._exit is not None:
            self._take_listener([], errno.ESRCH)
            self._loop.remove_reader(self._channel)
            self._channel.close()
            self._end_groups(self._loop.time() + 10)

    def _end_groups(self, until: float) -> None:
        """A guard that was killed has left its control groups, and in them what it guarded."""
        if keeper.end_groups(self._groups.folders) or self._loop.time() > until:
            self._groups = NO_GROUPS
            self._finish()
        else:
            self._loop.call_later(0.01, self._end_groups, until)

    def _take_listener(self, fds: list[int], number: int) -> None:
        for fd in fds:
            os.set_inheritable(fd, False)
        if fds and not self._listener.done():
            self._listener.set_result(fds[0])
        elif not self._listener.done():
            self._listener.set_exception(OSError(number, os.strerror(number)))
            self._listener.exception()

    def _fail_start(self, error: OSError) -> None:
        self._take_listener([], error.errno or errno.ESRCH)
        if not self._started.done():
            self._started.set_exception(error)
            self._started.exception()  # whoever waits gets it; nobody has to

    def _on_output(self, stream: Stream, fd: int) -> None:
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return
        *lines, partial = (self._partial.pop(stream, b"") + data).split(b"\n")
        if len(partial) > LINE_LIMIT or (not data and partial):
            lines.append(partial)
            partial = b""
        self._partial[stream] = partial
        for line in lines:
            text = line.rstrip(b"\r").decode("utf-8", "replace")
            self.tail.append(text)
            self._on_line(stream, text)
        if not data:
            self._loop.remove_reader(fd)
            os.close(fd)
            del self._pipes[stream]
            self._finish()

    def _finish(self) -> None:
        """The end is known when the guard has reported it, its groups are gone and all output has been read."""
        if self._exit is not None and not self._groups.folders and not self._pipes and not self.exited.done():
            self.exited.set_result(self._exit)
