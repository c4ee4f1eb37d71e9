"""Whether a function's server is up, and what is said if it is not."""

from __future__ import annotations

import contextlib
import errno
import os
import socket

import pytest

from fcemu.instances.readiness import DIAL_HOST, Listener, cause, dial, not_executed


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.0.0.2", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
    ],
)
def test_server_on_loopback_cannot_be_reached(host: str, loopback: bool) -> None:
    """Loopback addresses of both families count, also IPv4 ones that are mapped to IPv6."""
    assert Listener(host, 9000).loopback is loopback


async def test_dial_connects_as_the_front_does() -> None:
    """A server on all addresses accepts; after it has closed, nothing does."""
    with contextlib.closing(socket.socket()) as server:
        server.bind(("0.0.0.0", 0))
        server.listen()
        port = server.getsockname()[1]
        assert DIAL_HOST.startswith("127.")
        assert await dial(port)
    assert not await dial(port)


def test_exit_code_is_worded_as_in_the_cloud() -> None:
    """A code that is also an errno gets its text; others do not."""
    assert cause(1) == f"code 1, message:{os.strerror(1).lower()}"
    assert cause(137) == "code 137"


@pytest.mark.parametrize(
    ("number", "command", "code"),
    [
        (errno.EACCES, "/code/bootstrap", "CAFilePermission"),
        (errno.ENOENT, "/code/bootstrap", "CAFileNotFound"),
        (errno.ENOENT, "no-such-program", "CAExited"),
        (errno.ENOEXEC, "/code/bootstrap", "CAExited"),
    ],
)
def test_command_that_cannot_be_executed_has_the_clouds_code(number: int, command: str, code: str) -> None:
    """The errno and the kind of path decide which of the cloud's errors it is."""
    assert not_executed(OSError(number, os.strerror(number)), ["bootstrap"], [command]).code == code
