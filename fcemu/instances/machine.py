"""What can instances have on this machine? Self-tests find out, once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from fcemu.model import Settings
from fcemu.processes import cgroups
from fcemu.processes.cgroups import Parents
from fcemu.processes.keeper import SYSCALLS, write
from fcemu.processes.keeper_client import KeeperClient
from fcemu.processes.port_binding import PortBinding, own_address

_tests = itertools.count(1)

_TEST_PORT = 9000
_TEST_PROGRAM = f"""
import socket
server = socket.socket()
server.bind(("0.0.0.0", {_TEST_PORT}))
server.listen()
"""
"""It exits by itself. If it exits before the kernel asks about `listen`, its socket could not be taken over."""


class Machine(NamedTuple):
    """What instances can have on this machine.

    Attributes:
        replace: how instances share the configured port: True if their sockets are replaced, False if they are
            duplicated; None if instances cannot share it and each gets a port of its own.
        why_not: why they cannot share it.
        parents: the control groups in which groups of instances can be made.
    """

    replace: bool | None
    why_not: str
    parents: Parents


async def try_out(keeper: KeeperClient, run: str, settings: Settings, inform: Callable[[str], None]) -> Machine:
    """Test the abilities that the settings ask for.

    Args:
        run: identity of the front.
        inform: called with a text for the user if instances cannot share a port.
    """
    binding, parents = await asyncio.gather(_port_binding(keeper, settings), _control_groups(keeper, run, settings))
    if not isinstance(binding, str):
        return Machine(binding, "", parents)
    if settings.portBinding == "auto":
        inform(
            f"several instances cannot share a port here: {binding}. Each instance gets a port of its own in "
            "FC_SERVER_PORT; a function that ignores the variable gets one instance"
        )
    return Machine(None, binding, parents)


async def _port_binding(keeper: KeeperClient, settings: Settings) -> bool | str:
    return "the configuration does not ask for it" if settings.portBinding == "port" else await try_port_binding(keeper)


async def _control_groups(keeper: KeeperClient, run: str, settings: Settings) -> Parents:
    wanted = settings.freeze == "auto" or settings.memoryLimit == "auto"
    return await try_control_groups(keeper, run) if wanted else Parents(run)


async def try_control_groups(keeper: KeeperClient, run: str) -> Parents:
    """Which control groups an instance of this front can have. The test puts a process in groups and freezes it.

    Args:
        run: identity of the front, which is part of the groups' names.
    """
    for parent in cgroups.candidates("memory"):
        with contextlib.suppress(OSError):  # EBUSY if it has processes; then groups below it have no memory.max
            if parent.version == 2 and "memory" in (parent.folder / "cgroup.controllers").read_text().split():
                write(f"{parent.folder}/cgroup.subtree_control", "+memory")
    freezer = [Parents(run, freezer=parent) for parent in cgroups.candidates("freezer")]
    memory = [Parents(run, memory=parent) for parent in cgroups.candidates("memory")]
    return Parents(run, (await _first(keeper, freezer)).freezer, (await _first(keeper, memory)).memory)


async def _first(keeper: KeeperClient, tried: list[Parents]) -> Parents:
    for parents in tried:
        if await _works(keeper, parents):
            return parents
    return Parents("")


async def _works(keeper: KeeperClient, parents: Parents) -> bool:
    groups = parents.make(f"self-test-{next(_tests)}", 256)
    if not groups.folders:
        return False
    program = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]
    try:
        process = keeper.spawn(program, {}, Path("/"), lambda *_: None, groups=groups)
    except OSError:
        return False
    try:
        await process.started()
        inside = all(str(process.pid) in Path(folder, "cgroup.procs").read_text().split() for folder in groups.folders)
        process.freeze()
        for _ in range(1000):
            if groups.freezer is None or cgroups.is_frozen(groups.freezer):
                return inside
            await asyncio.sleep(0.001)
    except OSError:
        pass
    finally:
        process.kill()
        await process.exited
    return False


async def try_port_binding(keeper: KeeperClient) -> bool | str:
    """How instances can share a port: False with duplicated sockets, True with replaced ones; a text says why not."""
    reason = "the kernel does not offer it"
    if sys.platform != "linux" or os.uname().machine not in SYSCALLS:
        return "it needs Linux on x86_64 or aarch64"
    for replace in (False, True):
        program = [sys.executable, "-I", "-S", "-c", _TEST_PROGRAM]
        process = keeper.spawn(program, {}, Path("/"), lambda *_: None, ask=True)
        try:
            listener = await process.listener()
        except OSError as error:
            process.kill()
            await process.exited
            return f"{error.strerror} (seccomp user notification)"
        binding = PortBinding(listener, _TEST_PORT, own_address(), replace)
        try:
            await asyncio.wait((binding.listening, process.exited), return_when=asyncio.FIRST_COMPLETED, timeout=10)
            if binding.listening.done():
                return replace
            reason = "the instance's socket could not be taken over"
        finally:
            binding.close()
            process.kill()
            await process.exited
    return reason
