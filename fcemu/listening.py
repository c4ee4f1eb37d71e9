"""The socket that fcemu listens on."""

from __future__ import annotations

import contextlib
import resource
import socket

from fcemu.errors import StartError

ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Addresses that stand for all of a machine's, and the address to connect to instead."""


def address(host: str, port: int) -> str:
    """`host:port`; an IPv6 host is put in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to the hard limit, because a proxied socket needs two; returns the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def listening_socket(listen: str) -> socket.socket:
    """A non-blocking socket that listens.

    Args:
        listen: host:port; an IPv6 host in brackets; port 0 takes any free port.

    Raises:
        StartError: the address is in use, or this machine does not have it.
    """
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    try:
        family, _, _, _, where = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise StartError(f"cannot listen on {listen}: {error}") from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(where)
        sock.listen(4096)
    except OSError as error:
        sock.close()
        raise StartError(
            f"cannot listen on {listen}: {error.strerror}. Choose another port with --port, or 0 for any free one"
        ) from error
    sock.setblocking(False)
    return sock
