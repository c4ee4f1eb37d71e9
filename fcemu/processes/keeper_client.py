"""The front's handle on the keeper: it starts the keeper and asks it for processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fcemu.processes import keeper
from fcemu.processes.cgroups import NO_GROUPS, Groups
from fcemu.processes.process import FunctionProcess, Stream


class KeeperClient:
    """Starts the keeper at the first spawn, and starts another one if it has died. Use it from one event loop."""

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
        """Ask the keeper for a process. `FunctionProcess.started()` tells whether it could be started.

        Args:
            argv: the command.
            env: its whole environment.
            cwd: its working directory.
            on_line: called with each line of output.
            ask: let the kernel ask about its binds and listens; `FunctionProcess.listener()` is where the questions
                arrive.
            groups: control groups that were made for the process. It enters them before the command is executed, and
                they are removed when it has exited.

        Raises:
            OSError: no keeper could be started or reached.
        """
        ours, theirs = socket.socketpair()
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        start = keeper.StartMessage(argv=list(argv), env=dict(env), cwd=str(cwd), filter=ask, groups=groups.folders)
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

    def close(self, seconds: float = 15.0) -> None:
        """End the keeper, which ends its guards and their functions first. Blocks until that is done.

        Args:
            seconds: after this time the keeper is killed.
        """
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
        # -I -S: the keeper needs only the standard library, and must not import the user's modules.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper.__file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # a reader of our stdout must see its end when we exit
        )
        theirs.close()
        self._channel = ours
        return ours
