"""How can several instances listen on 0.0.0.0:9000 of one machine? (Linux; without root, containers or namespaces)

The kernel asks the front about each `bind` and `listen` of an instance (seccomp user notification; `keeper.py` installs
the filter between fork and exec). If the configured port is bound on all addresses, the front binds the socket to a
loopback address of the instance's own, 127.91.x.y. All other calls proceed as usual. So the function needs no change,
`listen` is the exact moment of readiness, and a bind to 127.0.0.1 is recognised with certainty.

The front works on a duplicate of the function's socket (`pidfd_getfd`). Where that is denied, as in a container with
Docker's default profile, it replaces the function's socket by one of its own (`SECCOMP_IOCTL_NOTIF_ADDFD`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import fcntl
import ipaddress
import itertools
import os
import random
import select
import socket
import struct
import sys
from pathlib import Path

from fcemu.processes.keeper import SYSCALLS

_NOTIF_RECV = 0xC0502100
_NOTIF_SEND = 0xC0182101
_NOTIF_ID_VALID = 0x40082102
_NOTIF_ADDFD = 0x40182103
_ADDFD_SETFD = 1
_CONTINUE = 1
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")
_ANSWER = struct.Struct("=QqiI")
_ADDFD = struct.Struct("=QIIII")
_PIDFD_GETFD = 438

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_numbers = itertools.count(random.SystemRandom().randrange(2**16))


def own_address() -> str:
    """A loopback address for one instance, 127.91.x.y. This front's last 65533 instances had other addresses.

    Each front starts at a random address, to avoid those of an earlier front that are still in TIME_WAIT.
    """
    number = next(_numbers) % 65534 + 1
    return f"127.91.{number >> 8}.{number & 255}"


class PortBinding:
    """Carries out the binds and listens of an instance on the configured port.

    Args:
        listener: the notification descriptor of its filter; closed by this object.
        port: the configured port.
        address: the instance's own address.
        replace: replace the function's socket by one of ours, instead of working on a duplicate.

    Attributes:
        address: as above.
        port: the port on which the instance is bound; differs from the configured one if that is in use.
        listening: done when the function's server listens.
        loopback: the loopback address on which the function has bound the port, if it has.
    """

    def __init__(self, listener: int, port: int, address: str, replace: bool = False) -> None:
        self.address = address
        self.port = port
        self.loopback: str | None = None
        self.listening: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._configured = port
        self._bound = False
        self._replace = replace
        self._replaced: dict[str, socket.socket] = {}
        self._listener = listener
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(listener, self._on_notification)

    def close(self) -> None:
        """Stop answering. A later bind of a process of the instance fails with ENOSYS."""
        if self._listener >= 0:
            self._loop.remove_reader(self._listener)
            os.close(self._listener)
            self._listener = -1
        for sock in self._replaced.values():
            sock.close()
        self._replaced.clear()

    def _on_notification(self) -> None:
        events = self._poll.poll(0)
        if not events or not events[0][1] & select.POLLIN:
            if events:  # POLLHUP: no process is left that could ask
                self.close()
            return
        buffer = bytearray(_NOTIFICATION.size)
        try:
            fcntl.ioctl(self._listener, _NOTIF_RECV, buffer)
        except OSError:  # the process died, or a signal interrupted its call
            return
        id, tid, _, number, _, _, *arguments = _NOTIFICATION.unpack(buffer)
        bind, _ = SYSCALLS[os.uname().machine][1:]
        try:
            answer = self._bind(id, tid, *arguments[:3]) if number == bind else self._listen(tid, *arguments[:2])
        except (PermissionError, OverflowError):
            answer = None  # its memory cannot be read, or this is no address: the kernel decides
        except OSError as error:
            answer = -(error.errno or errno.EINVAL)
        with contextlib.suppress(OSError):  # the process died meanwhile
            if answer is None:
                fcntl.ioctl(self._listener, _NOTIF_SEND, _ANSWER.pack(id, 0, 0, _CONTINUE))
            else:
                fcntl.ioctl(self._listener, _NOTIF_SEND, _ANSWER.pack(id, 0, answer, 0))

    def _bind(self, id: int, tid: int, fd: int, pointer: int, length: int) -> int | None:
        """The answer to a bind: 0, a negative errno, or None to let the kernel carry it out."""
        raw = _memory(tid, pointer, min(length, 28))
        # The memory belongs to this call only if the call still waits: pids are reused.
        fcntl.ioctl(self._listener, _NOTIF_ID_VALID, struct.pack("=Q", id))
        wanted = _inet(raw)
        if wanted is None or wanted[1] != self._configured:
            return None
        host, _ = wanted
        with contextlib.closing(self._socket(id, tid, fd, raw)) as sock:
            if not _is_inet_stream(sock):
                return None
            if sock.getsockname()[1]:
                return 0  # already bound: a signal interrupted the first answer
            if not host.is_unspecified:
                mapped = getattr(host, "ipv4_mapped", None) or host
                if not mapped.is_loopback:
                    return None  # an address of this machine, bound on purpose
                self.loopback = str(mapped)
                _bind_to(sock, "127.0.0.1", 0)
            elif _is_ipv6_only(sock):
                sock.bind(("::1", 0))  # clients reach its sibling on IPv4
            else:
                self._bind_own(sock)
        return 0

    def _bind_own(self, sock: socket.socket) -> None:
        """Bind to the instance's own address. A second socket shares the first one's if it may."""
        # TIME_WAIT must not hinder the first socket. Whether siblings share the port is up to the function, if known.
        if self._replace or not self._bound:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._replace and self._bound:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            _bind_to(sock, self.address, self.port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or self._bound:
                raise
            # Another program listens on all addresses of that port; the instance gets another port.
            _bind_to(sock, self.address, 0)
            self.port = sock.getsockname()[1]
        self._bound = True
        if self._replace:  # for siblings; not before the bind, or another front's instance could share the port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)

    def _listen(self, tid: int, fd: int, backlog: int) -> int | None:
        if self._replace:
            inode = _inode(tid, fd)
            sock = self._replaced.get(inode)
            if sock is None:
                return None
            sock.listen(backlog & 0x7FFFFFFF)
            ours = self._is_own(sock)
            self._replaced.pop(inode).close()  # from here on only the function holds it, and decides when it is closed
        else:
            with contextlib.closing(_duplicate(tid, fd)) as duplicate:
                ours = self._is_own(duplicate)
                if not ours:
                    return None
                duplicate.listen(backlog & 0x7FFFFFFF)
        if ours and not self.listening.done():
            self.listening.set_result(None)
        return 0

    def _is_own(self, sock: socket.socket) -> bool:
        if not _is_inet_stream(sock):
            return False
        host, port = sock.getsockname()[:2]
        return bool(host.removeprefix("::ffff:") == self.address and port == self.port)

    def _socket(self, id: int, tid: int, fd: int, raw: bytes) -> socket.socket:
        """A duplicate of the function's socket, or a socket that has replaced it."""
        if not self._replace:
            return _duplicate(tid, fd)
        if not _is_tcp(tid, fd):
            return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # a dummy: not a TCP socket
        family = socket.AF_INET6 if struct.unpack_from("=H", raw)[0] == socket.AF_INET6 else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.setblocking(not _is_nonblocking(tid, fd))
        fcntl.ioctl(self._listener, _NOTIF_ADDFD, _ADDFD.pack(id, _ADDFD_SETFD, sock.fileno(), fd, 0))
        kept = sock.dup()
        self._replaced[_inode(tid, fd)] = kept
        return sock


def _bind_to(sock: socket.socket, host: str, port: int) -> None:
    if sock.family == socket.AF_INET6:
        sock.bind((f"::ffff:{host}", port))
    else:
        sock.bind((host, port))


def _is_inet_stream(sock: socket.socket) -> bool:
    return sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM


def _is_ipv6_only(sock: socket.socket) -> bool:
    with contextlib.suppress(OSError):  # not every kernel answers for an MPTCP socket
        return sock.family == socket.AF_INET6 and bool(sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
    return False


def _memory(tid: int, pointer: int, length: int) -> bytes:
    with open(f"/proc/{tid}/mem", "rb", buffering=0) as memory:
        return os.pread(memory.fileno(), length, pointer)


def _inet(raw: bytes) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int] | None:
    """Address and port of a sockaddr; None for other address families."""
    if len(raw) < 8:
        return None
    (family,) = struct.unpack_from("=H", raw)
    (port,) = struct.unpack_from("!H", raw, 2)
    if family == socket.AF_INET:
        return ipaddress.IPv4Address(raw[4:8]), port
    if family == socket.AF_INET6 and len(raw) >= 24:
        host = ipaddress.IPv6Address(raw[8:24])
        return host.ipv4_mapped or host, port
    return None


def _duplicate(tid: int, fd: int) -> socket.socket:
    """A duplicate of the function's socket."""
    assert _libc is not None
    pidfd = os.pidfd_open(_leader(tid))
    try:
        duplicate = _libc.syscall(_PIDFD_GETFD, pidfd, fd, 0)
        if duplicate < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
    finally:
        os.close(pidfd)
    os.set_inheritable(duplicate, False)
    return socket.socket(fileno=duplicate)


def _leader(tid: int) -> int:
    """The process of a thread, because a pidfd refers to a process."""
    for line in Path(f"/proc/{tid}/status").read_text().splitlines():
        if line.startswith("Tgid:"):
            return int(line.split()[1])
    raise ProcessLookupError(errno.ESRCH, "no such thread")


def _inode(tid: int, fd: int) -> str:
    return os.readlink(f"/proc/{tid}/fd/{fd}")


def _is_tcp(tid: int, fd: int) -> bool:
    with contextlib.suppress(OSError):
        name = os.getxattr(f"/proc/{tid}/fd/{fd}", "system.sockprotoname")
        return name.startswith((b"TCP", b"MPTCP"))  # Go uses the latter where the kernel has it
    return False


def _is_nonblocking(tid: int, fd: int) -> bool:
    for line in Path(f"/proc/{tid}/fdinfo/{fd}").read_text().splitlines():
        if line.startswith("flags:"):
            return bool(int(line.split()[1], 8) & os.O_NONBLOCK)
    return False
