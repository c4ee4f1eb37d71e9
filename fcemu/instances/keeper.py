"""Who starts a function's process, and who ends what is left of it?

Run as a program of its own, with the standard library alone::

    front ── keeper ── guard ── the function ── whatever it starts
                  └─── guard ── the function …

* The **keeper** is started before any thread or event loop exists and only forks guards.
* A **guard** is forked for each instance. It is a child subreaper: every descendant of the function that loses
  its parent, double forks and new sessions included, becomes the guard's child, and the guard ends them all when
  the function ends, when it is told to, or when its channel to the front closes, however the front died.
* The function has its own session and process group, and the parent-death signal, in case the guard is killed. What
  it leaves behind then becomes the keeper's child, which ends it.

The front holds one stream socket to the keeper and one to each guard. Messages are JSON, one a line; the keeper's
start message also carries file descriptors.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LINUX = sys.platform == "linux"
_libc = ctypes.CDLL(None, use_errno=True) if _LINUX else None

SYSCALLS = {"x86_64": (317, 49, 50), "aarch64": (277, 200, 201)}
"""Numbers of seccomp, bind and listen, by machine."""

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER = 1
_NEW_LISTENER, _SPEC_ALLOW, _WAIT_KILLABLE = 8, 4, 32
_ALLOW, _ASK = 0x7FFF0000, 0x7FC00000

HEADER = struct.Struct("!I")
"""Length of a start message, ahead of it; the file descriptors travel with it."""


def _prctl(option: int, value: int) -> None:
    if _libc is not None:
        _libc.prctl(option, value, 0, 0, 0)


def install_filter() -> int:
    """Have the kernel ask about each bind and listen from here on; returns the descriptor that the questions come by.

    Raises:
        OSError: it cannot be done here; EBUSY inside a process tree that is asked about already.
    """
    machine = os.uname().machine
    if _libc is None or machine not in SYSCALLS:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    seccomp, bind, listen = SYSCALLS[machine]
    instruction = struct.Struct("=HBBI")
    program = [
        (0x20, 0, 0, 4),  # the architecture: another one's numbers mean other calls
        (0x15, 0, 3, _AUDIT_ARCH[machine]),
        (0x20, 0, 0, 0),  # the number of the call
        (0x15, 2, 0, bind),
        (0x15, 1, 0, listen),
        (0x06, 0, 0, _ALLOW),
        (0x06, 0, 0, _ASK),
    ]
    code = ctypes.create_string_buffer(b"".join(instruction.pack(*step) for step in program))
    fprog = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    flags = [_NEW_LISTENER | _SPEC_ALLOW | _WAIT_KILLABLE, _NEW_LISTENER | _SPEC_ALLOW, _NEW_LISTENER]
    promised = False
    while True:
        listener: int = _libc.syscall(seccomp, _SET_MODE_FILTER, flags[0], fprog)
        if listener >= 0:
            return listener
        error = ctypes.get_errno()
        if error == errno.EACCES and not promised:
            # Without privileges it takes a promise to gain none: su, sudo and ping stop working in the function.
            promised = True
            _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        elif error == errno.EINVAL and len(flags) > 1:
            del flags[0]  # an older kernel
        else:
            raise OSError(error, os.strerror(error))


def _children(pid: int) -> list[int]:
    """The direct children of a process of ours."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                found += [int(child) for child in file.read().split()]
    except OSError:
        pass
    return found


def _kill(pid: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signum)


def _kill_group(pid: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signum)


def end_descendants(seconds: float = 5.0) -> None:
    """Kill and reap every child until none is left; orphans come to us because we are a subreaper."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for child in _children(os.getpid()):
            _kill(child, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.001)


def _wake_on_child() -> int:
    """A descriptor that becomes readable when a child ends."""
    read, write = os.pipe()
    for fd in (read, write):
        os.set_blocking(fd, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    return read


def _ignore_terminal() -> None:
    """Ctrl-C and a closed terminal are the front's business; it tells us."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(signum, signal.SIG_IGN)


def _drain(fd: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(fd, 4096):
            pass


def _run_function(spec: dict[str, Any], channel: socket.socket, stdout: int, stderr: int, failed: int) -> NoReturn:
    """In the child: become the function's process. Whatever goes wrong is written to `failed`."""
    try:
        os.setsid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != spec["guard"]:
            os._exit(1)  # the guard died between fork and prctl
        signal.set_wakeup_fd(-1)
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):
            signal.signal(signum, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (stdout, 1), (stderr, 2)):
            os.dup2(source, target, inheritable=True)
        os.chdir(spec["cwd"])
        if spec["filter"]:
            _offer_listener(channel)
        os.execvpe(spec["argv"][0], spec["argv"], spec["env"])
    except OSError as error:
        os.write(failed, str(error.errno or errno.EIO).encode())
    finally:
        os._exit(127)


def _offer_listener(channel: socket.socket) -> None:
    """Hand the descriptor of the filter's questions to the front, or say why there is none."""
    try:
        listener = install_filter()
    except OSError as error:
        channel.sendall(json.dumps({"filter": error.errno}).encode() + b"\n")
        return
    socket.send_fds(channel, [json.dumps({"filter": 0}).encode() + b"\n"], [listener])
    os.close(listener)


def _guard(spec: dict[str, Any], channel: socket.socket, stdout: int, stderr: int) -> NoReturn:
    """Start the function, report its end, and leave nothing of it behind."""
    os.setsid()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    spec["guard"] = os.getpid()
    wake = _wake_on_child()
    failed_read, failed_write = os.pipe()
    function = os.fork()
    if function == 0:
        _run_function(spec, channel, stdout, stderr, failed_write)
    for fd in (stdout, stderr, failed_write):
        os.close(fd)
    errno_text = os.read(failed_read, 16)  # EOF once exec has succeeded
    os.close(failed_read)

    def tell(**message: object) -> None:
        with contextlib.suppress(OSError):
            channel.sendall(json.dumps(message).encode() + b"\n")

    if errno_text:
        end_descendants()
        tell(errno=int(errno_text))
        os._exit(0)
    tell(pid=function)

    def handle(line: bytes) -> float | None:
        """Carry out a message; returns when to stop being patient."""
        message = json.loads(line)
        _kill_group(function, signal.SIGTERM)
        return time.monotonic() + float(message["stop"])

    deadline: float | None = None
    pending = b""
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    poll.register(wake, select.POLLIN)
    status: tuple[int, int] | None = None
    while status is None:
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        ready = poll.poll(timeout)
        for fd, _ in ready:
            if fd == wake:
                _drain(wake)
                status = _reap(function)
            elif data := _receive(channel):
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    deadline = handle(line)
            else:  # the front is gone or wants it over now
                deadline = time.monotonic()
        if status is None and deadline is not None and time.monotonic() >= deadline:
            _kill(function, signal.SIGKILL)
            _kill_group(function, signal.SIGKILL)
            status = _wait_for(function)
    end_descendants()
    code, peak_kb = status
    tell(exit=code, peak=peak_kb)
    os._exit(0)


def _receive(channel: socket.socket) -> bytes:
    try:
        return channel.recv(4096)
    except OSError:
        return b""


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _wait_for(pid: int) -> tuple[int, int]:
    _, status, usage = os.wait4(pid, 0)
    return _exit_code(status), usage.ru_maxrss


def _reap(function: int) -> tuple[int, int] | None:
    """Reap whoever ended; the function's exit code and peak memory (KB) if it was the one."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                return None
            if pid == function:
                return _exit_code(status), usage.ru_maxrss
    return None


def _receive_start(channel: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next start message and its descriptors; None when the front is gone."""
    header, fds, _, _ = socket.recv_fds(channel, HEADER.size, 3)
    if len(header) < HEADER.size:
        return None
    (length,) = HEADER.unpack(header)
    payload = bytearray()
    while len(payload) < length:
        part = channel.recv(length - len(payload))
        if not part:
            return None
        payload += part
    for fd in fds:
        os.set_inheritable(fd, False)
    return json.loads(payload), fds


def keep(channel: socket.socket) -> None:
    """The keeper's life: fork a guard for each start message, until the front is gone."""
    os.setsid()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _ignore_terminal()
    wake = _wake_on_child()
    guards: set[int] = set()

    def reap() -> None:
        with contextlib.suppress(ChildProcessError):
            while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                guards.discard(pid)
        for child in _children(os.getpid()):
            if child not in guards:
                _kill(child, signal.SIGKILL)  # left behind by a guard that was killed

    poll = select.poll()
    poll.register(channel, select.POLLIN)
    poll.register(wake, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == wake:
                _drain(wake)
                reap()
                continue
            message = _receive_start(channel)
            if message is None:
                _after_the_front(guards, reap)
                return
            spec, fds = message
            pid = os.fork()
            if pid == 0:
                channel.close()
                _guard(spec, socket.socket(fileno=fds[0]), fds[1], fds[2])
            guards.add(pid)
            for passed in fds:
                os.close(passed)


def _after_the_front(guards: set[int], reap: Callable[[], None], seconds: float = 10.0) -> None:
    """The guards saw the front's end too and clean up; make sure that they do."""
    until = time.monotonic() + seconds
    while guards and time.monotonic() < until:
        reap()
        time.sleep(0.005)
    end_descendants()


if __name__ == "__main__":
    keep(socket.socket(fileno=int(sys.argv[1])))
