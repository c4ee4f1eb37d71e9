"""A function's process tree, as the event loop sees it: its output, freezing it, stopping it, its exit."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
import sys
from collections import deque
from collections.abc import Callable
from typing import Literal, NamedTuple

from fcemu.processes import keeper
from fcemu.processes.cgroups import NO_GROUPS, Groups

Stream = Literal["stdout", "stderr"]

LINE_LIMIT = 32 * 1024
"""Bytes of a log line; a longer line is split (semantics 5.1)."""


class Exit(NamedTuple):
    """How a function's process ended."""

    code: int
    """Exit code; 128 + n if signal n terminated it, so 137 after an excess of memory."""
    peak_memory_mb: float


class FunctionProcess:
    """One function's process and all its descendants, watched by a guard. Made by `KeeperClient.spawn`.

    Args:
        channel: the socket to the guard; closed by this object.
        pipes: where the process writes its output; closed by this object.
        on_line: called with each line of output.
        groups: the control groups of the tree.

    Attributes:
        exited: has an `Exit` as its result once the whole tree is gone.
        pid: of the function's own process, once it has started.
        guard: pid of the guard, from which all processes of the tree descend, once it has started.
        tail: the last lines of output.
        frozen: whether the tree is frozen or about to be.
        out_of_memory: whether it was killed because it exceeded its memory limit; final once `exited` is done.
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
            OSError: the command could not be executed; `errno` says why.
        """
        await asyncio.shield(self._started)

    async def listener(self) -> int:
        """The descriptor on which the kernel asks about the process's binds; the caller must close it.

        Raises:
            OSError: the filter could not be installed, or the process exited first.
        """
        return await asyncio.shield(self._listener)

    def stop(self, grace: float) -> None:
        """Thaw the tree and send SIGTERM to its process group; after `grace` seconds kill what is left."""
        self._stopping = True
        self.frozen = False
        self._send(stop=grace)

    def kill(self) -> None:
        """Kill the whole tree now."""
        self.stop(0)

    def freeze(self) -> None:
        """Suspend every process of the tree until it is thawed or stopped (D/04/040). Does not wait for them to stop.

        Does nothing before the process has started.
        """
        if self.pid is not None:
            self._set_frozen(True)

    def thaw(self) -> None:
        """Let the tree continue."""
        self._set_frozen(False)

    def _set_frozen(self, frozen: bool) -> None:
        if frozen == self.frozen or self._stopping:
            return
        self.frozen = frozen
        if self._groups.freezer is not None:
            keeper.set_frozen(str(self._groups.freezer), frozen)
        else:
            self._send(freeze=frozen)

    def _send(self, **message: object) -> None:
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
                # ru_maxrss is in KB on Linux and in bytes on macOS.
                unit = 1024 if sys.platform == "linux" else 1024 * 1024
                self.out_of_memory = self.out_of_memory or message["oom"]
                self._exit = Exit(137 if self.out_of_memory else message["exit"], message["peak"] / unit)
        if not data and self._exit is None:
            # A guard that reports no exit was killed, and its function with it.
            self._fail_start(OSError(0, "the process that watches the function was killed"))
            self._exit = Exit(137, 0.0)
        if self._exit is not None:
            self._take_listener([], errno.ESRCH)
            self._loop.remove_reader(self._channel)
            self._channel.close()
            self._end_groups(self._loop.time() + 10)

    def _end_groups(self, until: float) -> None:
        """Remove the control groups that a killed guard has left, and kill the processes in them."""
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
            self._started.exception()  # mark it as retrieved: nobody has to wait for the start

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
        """Complete `exited` once the guard has reported the exit, the groups are gone and all output has been read."""
        if self._exit is not None and not self._groups.folders and not self._pipes and not self.exited.done():
            self.exited.set_result(self._exit)
