"""How is a function debugged on this machine? Finds its scripts, a debugpy and a free port (`fcemu serve --debug`)."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import shutil
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from fcemu.errors import FcemuError, FCError, Refusal
from fcemu.instances.debugging import FIRST_PORT, Debuggable, Debugged, Script, debuggable, debugged

_BEGINNING = 8192
"""Bytes of a script that are read."""


async def under_debugger(
    argv: Sequence[str], code: Path, environment: Mapping[str, str], taken: set[int]
) -> tuple[Debugged, int] | None:
    """A function's start command with a debugger in it, and the debugger's port; None if no debugger fits the command.

    Args:
        argv: the start command.
        code: the function's folder.
        environment: the function's variables.
        taken: debugger ports of other instances, which may not listen yet; the new port is added.

    Raises:
        FCError: it is a Python function and no debugpy is installed.
    """
    command = debuggable(argv, lambda word: _script(word, code, environment))
    if command is None:
        return None
    port = _port(FIRST_PORT[command.language], taken)
    ours = importlib.util.find_spec("debugpy")
    try:
        start = debugged(
            command,
            port,
            environment,
            own_debugpy=command.language == "python" and await _has_debugpy(command, code, environment),
            our_debugpy=str(Path(ours.origin).parent) if ours is not None and ours.origin else None,
        )
    except FcemuError as error:
        raise FCError(
            Refusal.INTERNAL_SERVER_ERROR, reason=str(error), remedy="install it, or serve without --debug"
        ) from error
    return start, port


def _script(word: str, code: Path, environment: Mapping[str, str]) -> Script | None:
    found = str(code / word) if "/" in word else shutil.which(word, path=environment.get("PATH"))
    with contextlib.suppress(OSError):
        if found is not None:
            with open(found, "rb") as file:
                beginning = file.read(_BEGINNING)
            if b"\0" not in beginning:
                return Script(found, beginning.decode("utf-8", "replace"))
    return None


async def _has_debugpy(command: Debuggable, code: Path, environment: Mapping[str, str]) -> bool:
    try:
        probe = await asyncio.create_subprocess_exec(
            *command.probe,
            cwd=code,
            env=dict(environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return False  # the start will fail with a better error
    return await probe.wait() == 0


def _port(first: int, taken: set[int]) -> int:
    """The debugger's default port, or any free one."""
    wanted = first
    while True:
        with contextlib.closing(socket.socket()) as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", wanted))
            port: int = sock.getsockname()[1]
            if port not in taken:
                taken.add(port)
                return port
        wanted = 0
