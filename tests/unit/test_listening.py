"""The socket that fcemu listens on."""

from __future__ import annotations

import contextlib
import resource
import socket

import pytest

from fcemu.errors import StartError
from fcemu.listening import address, listening_socket, raise_descriptor_limit


def test_ipv6_host_is_put_in_brackets() -> None:
    """An address reads as in a URL."""
    assert address("127.0.0.1", 80) == "127.0.0.1:80"
    assert address("::1", 80) == "[::1]:80"


def test_port_0_takes_any_free_port() -> None:
    """The system chooses a port, the socket accepts connections there and does not block."""
    with contextlib.closing(listening_socket("127.0.0.1:0")) as listener:
        assert not listener.getblocking()
        with socket.create_connection(listener.getsockname()):
            pass


def test_address_in_use_says_what_to_do() -> None:
    """A port that another program listens on is an error that names the option."""
    with contextlib.closing(listening_socket("127.0.0.1:0")) as listener:
        taken = address(*listener.getsockname())
        with pytest.raises(StartError, match=f"cannot listen on {taken}: .*--port"):
            listening_socket(taken)


def test_unknown_host_is_an_error() -> None:
    """A host that does not resolve is reported as the user wrote it."""
    with pytest.raises(StartError, match=r"cannot listen on no\.such\.host\.invalid:80"):
        listening_socket("no.such.host.invalid:80")


def test_descriptor_limit_is_raised_to_the_hard_limit() -> None:
    """The soft limit of open files becomes the hard one."""
    former = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, former[1]), former[1]))
        assert raise_descriptor_limit() == former[1]
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (former[1], former[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, former)
