"""Is the function's server up, and where does it listen?

In the cloud an instance has an address of its own, so a server on 127.0.0.1 or localhost cannot be reached (PAGE,
FAQ). On Linux the front connects to 127.0.0.2: a server on 0.0.0.0 accepts there, and one on 127.0.0.1 does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import psutil

from fcemu.clock import Clock
from fcemu.errors import FCError, Refusal
from fcemu.processes.port_binding import PortBinding
from fcemu.processes.process import FunctionProcess

DIAL_HOST = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"

_DIAL_EVERY = 0.02
_LOOK_EVERY = 0.5
_LOOPBACK_LOOKS = 3
"""After this many looks a server that listens only on loopback is taken to stay there. The cloud would wait 120 s."""


class Listener(NamedTuple):
    """A listening TCP socket of a process."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether it can be reached only from inside the instance."""
        address = ipaddress.ip_address(self.host)
        mapped = getattr(address, "ipv4_mapped", None)
        return bool((mapped or address).is_loopback)


class Ready(NamedTuple):
    """Where an instance accepts connections."""

    host: str
    port: int
    fixed: bool
    """The server ignored the port it was given and listens on the configured one: no second instance is possible."""


async def dial(port: int) -> bool:
    """Whether a connection as the front makes it is accepted."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as sock:
        sock.setblocking(False)
        try:
            await asyncio.wait_for(asyncio.get_running_loop().sock_connect(sock, (DIAL_HOST, port)), 1.0)
        except OSError:
            return False
        return True


def listeners(pid: int) -> list[Listener]:
    """The listening sockets of a function's process tree, including orphans, which are children of the guard.

    Args:
        pid: of the function's own process.
    """
    found: list[Listener] = []
    with contextlib.suppress(psutil.Error):
        guard = psutil.Process(pid).parent()
        for process in guard.children(recursive=True) if guard else []:
            with contextlib.suppress(psutil.Error):
                found += [
                    Listener(connection.laddr.ip, connection.laddr.port)
                    for connection in process.net_connections("tcp")
                    if connection.status == psutil.CONN_LISTEN
                ]
    return sorted(set(found))


async def wait_until_ready(
    process: FunctionProcess,
    *,
    command: Sequence[str],
    port: int,
    configured_port: int,
    timeout: float,
    clock: Clock,
    warn: Callable[[str], None],
    binding: PortBinding | None = None,
) -> Ready:
    """Wait until the function's server accepts connections.

    Args:
        command: the start command, for the error.
        port: where the server should listen (`FC_SERVER_PORT`).
        configured_port: where it would listen in the cloud (`customRuntimeConfig.port`).
        timeout: seconds; the cloud waits 120 (D/04/076).
        warn: called once with a text for the user if the server listens somewhere else.
        binding: answers the binds of the function. With it, `listen` is the exact moment of readiness and no connection
            is tried.

    Raises:
        FCError: CA_EXITED or FUNCTION_NOT_STARTED, with the function's last output.
    """
    begin = clock.now()
    look_at = begin + _LOOK_EVERY
    loopback_looks = 0
    warned = False
    found: list[Listener] = []
    while True:
        if process.exited.done():
            raise exited(process, command)
        if binding is not None and binding.listening.done():
            return Ready(binding.address, binding.port, fixed=False)
        if binding is None and await dial(port):
            return Ready(DIAL_HOST, port, fixed=port == configured_port)
        now = clock.now()
        if binding is not None and binding.loopback is not None and now - begin >= _LOOK_EVERY:
            raise _on_loopback(process, Listener(binding.loopback, configured_port), configured_port, now - begin)
        if now >= look_at or (binding is None and not found and await dial(configured_port)):
            look_at = now + _LOOK_EVERY
            found = await asyncio.to_thread(listeners, process.pid) if process.pid else []
            expected = [listener for listener in found if listener.port in (port, configured_port)]
            reachable = {listener.port for listener in expected if not listener.loopback}
            if configured_port in reachable and await dial(configured_port):
                return Ready(DIAL_HOST, configured_port, fixed=True)
            if expected and not reachable:
                loopback_looks += 1
                if loopback_looks >= _LOOPBACK_LOOKS:
                    raise _on_loopback(process, expected[0], configured_port, now - begin)
            elif found and not expected and not warned:
                warned = True
                warn(f"{_elsewhere(found)}; {_where_to_listen(configured_port)}")
        if now - begin >= timeout:
            raise _never_up(process, found, configured_port, now - begin)
        events: list[asyncio.Future[Any]] = [process.exited, *([] if binding is None else [binding.listening])]
        await asyncio.wait(events, timeout=_DIAL_EVERY, return_when=asyncio.FIRST_COMPLETED)


def last_output(process: FunctionProcess, limit: int = 4096) -> str:
    """The last lines of the function's output, at most `limit` characters."""
    return "\n".join(process.tail)[-limit:]


def exited(process: FunctionProcess, command: Sequence[str]) -> FCError:
    """The error for a function whose process exited before its server was up."""
    code = process.exited.result().code
    logs = last_output(process)
    remedy = "run the start command by hand in the code folder; its output is above"
    if "EADDRINUSE" in logs or "ddress already in use" in logs:
        remedy = (
            "the port is in use on this machine: stop the other program, or let the server listen on the "
            "port in the environment variable FC_SERVER_PORT"
        )
    return FCError(Refusal.CA_EXITED, cause=cause(code), command=" ".join(command), logs=logs, remedy=remedy)


def cause(code: int) -> str:
    """`code N, message:<strerror>`, as the cloud words an exit code (D/04/076)."""
    text = os.strerror(code).lower()
    return f"code {code}" if text.startswith("unknown error") else f"code {code}, message:{text}"


def not_executed(error: OSError, argv: Sequence[str], command: Sequence[str]) -> FCError:
    """The error for a start command that the system could not execute (D/04/076).

    Args:
        argv: the command with local paths.
        command: the command as configured.
    """
    if error.errno == errno.EACCES:
        return FCError(
            Refusal.CA_FILE_PERMISSION,
            command=" ".join(command),
            remedy=f"make it executable: chmod 755 {argv[0]}",
        )
    if error.errno == errno.ENOENT and command[0].startswith("/code/"):
        return FCError(
            Refusal.CA_FILE_NOT_FOUND,
            file=command[0],
            remedy=f"{argv[0]} does not exist, or the interpreter in its first line does not; "
            "set customRuntimeConfig.command, or add the file",
        )
    number = error.errno or 1
    return FCError(
        Refusal.CA_EXITED,
        cause=cause(number),
        command=" ".join(command),
        logs=f"{argv[0]}: {os.strerror(number)}",
        remedy=f"is {argv[0]!r} installed and in PATH?",
    )


def _where_to_listen(port: int) -> str:
    return f"Function Compute needs a server on 0.0.0.0:{port} (on the port in FC_SERVER_PORT if it is set)"


def _elsewhere(found: Sequence[Listener]) -> str:
    return "the function listens on " + ", ".join(f"{host}:{port}" for host, port in found)


def _on_loopback(process: FunctionProcess, listener: Listener, port: int, seconds: float) -> FCError:
    host = "::1" if ":" in listener.host else listener.host
    return FCError(
        Refusal.FUNCTION_NOT_STARTED,
        port=port,
        seconds=round(seconds, 1),
        logs=last_output(process),
        reason=f"the function listens on {host}:{listener.port}, which cannot be reached from outside its instance",
        remedy=f"listen on 0.0.0.0 instead of 127.0.0.1 or localhost: {_where_to_listen(port)}",
    )


def _never_up(process: FunctionProcess, found: Sequence[Listener], port: int, seconds: float) -> FCError:
    return FCError(
        Refusal.FUNCTION_NOT_STARTED,
        port=port,
        seconds=round(seconds, 1),
        logs=last_output(process),
        reason=_elsewhere(found) if found else "the function does not listen on any port",
        remedy=_where_to_listen(port),
    )
