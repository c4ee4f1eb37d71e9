"""How is a function's process started, so that none of its descendants outlives it?

This file runs as a program of its own, with only the standard library::

    front ── keeper ── guard ── the function ── its descendants
                  └─── guard ── the function …

* The **keeper** has no thread and no event loop, and only forks guards.
* A **guard** is forked for each instance. It is a child subreaper: every descendant of the function that loses its
  parent becomes the guard's child, also after a double fork or in a new session. The guard kills them all when the
  function exits, when the front asks for it, or when its channel to the front closes because the front died.
* The function has its own session and process group, and the parent-death signal in case the guard is killed. Its
  descendants then become the keeper's children, and the keeper kills them. Without a keeper, `fcemu prune` does.
* If the front could make control groups for the instance, the function enters them before it is executed. They are
  thawed before the instance is killed, because v1's freezer delays even SIGKILL, and removed afterwards.

The front has one stream socket to the keeper and one to each guard. Messages are JSON, one per line. The start message
to the keeper has a length instead of a line end, and carries file descriptors.
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
from collections.abc import Callable, Sequence
from typing import NoReturn, TypedDict

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
_LINUX = sys.platform == "linux"
_libc = ctypes.CDLL(None, use_errno=True) if _LINUX else None

SYSCALLS = {"x86_64": (317, 49, 50), "aarch64": (277, 200, 201)}
"""Numbers of seccomp, bind and listen, by machine."""

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER = 1
_NEW_LISTENER, _SPEC_ALLOW, _WAIT_KILLABLE = 8, 4, 32
_ALLOW, _ASK = 0x7FFF0000, 0x7FC00000


class StartMessage(TypedDict):
    """What the front asks the keeper to start.

    Attributes:
        argv, env, cwd: the command, its whole environment, its working directory.
        filter: install the filter that lets the kernel ask about binds and listens.
        groups: folders of the control groups that it enters.
    """

    argv: list[str]
    env: dict[str, str]
    cwd: str
    filter: bool
    groups: list[str]


HEADER = struct.Struct("!I")
"""Length of a start message. It precedes the message and carries the file descriptors."""


def prctl(option: int, value: int) -> None:
    """Call prctl(2); does nothing outside Linux."""
    if _libc is not None:
        _libc.prctl(option, value, 0, 0, 0)


def install_filter() -> int:
    """Let the kernel ask about each bind and listen of this process; returns the descriptor on which it asks.

    Raises:
        OSError: it is not possible here; EBUSY if a process above this one has such a filter already.
    """
    machine = os.uname().machine
    if _libc is None or machine not in SYSCALLS:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    seccomp, bind, listen = SYSCALLS[machine]
    instruction = struct.Struct("=HBBI")
    program = [
        (0x20, 0, 0, 4),  # the architecture: numbers of calls differ between them
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
            # Without privileges the kernel demands no_new_privs: su, sudo and ping stop working in the function.
            promised = True
            _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        elif error == errno.EINVAL and len(flags) > 1:
            del flags[0]  # an older kernel
        else:
            raise OSError(error, os.strerror(error))


def _children(pid: int) -> list[int]:
    """The direct children of a process."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                found += [int(child) for child in file.read().split()]
    except OSError:
        pass
    return found


def descendants(pid: int) -> list[int]:
    """All descendants of a process, parents first. Linux only."""
    found = _children(pid)
    for process in found:  # grows during the loop
        found += _children(process)
    return found


def _state(pid: int) -> tuple[str, str] | None:
    """A process's state letter and its start time, which distinguishes it from others with the same pid."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return fields[0].decode(), fields[19].decode()


def kill(pid: int, signum: int) -> None:
    """Send a signal to a process, if it still exists."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signum)


def kill_group(pid: int, signum: int) -> None:
    """Send a signal to a process group, if it still exists."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signum)


def end_descendants(seconds: float = 5.0) -> None:
    """Kill and reap children until none is left, for `seconds` at most. Orphans arrive because this is a subreaper."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for child in _children(os.getpid()):
            kill(child, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.001)


def wake_on_child() -> int:
    """A descriptor that becomes readable when a child exits."""
    read, write = os.pipe()
    for fd in (read, write):
        os.set_blocking(fd, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    return read


def _ignore_terminal() -> None:
    """Ignore Ctrl-C and the end of the terminal: the front handles them and closes the channel."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(signum, signal.SIG_IGN)


def drain(fd: int) -> None:
    """Read everything from a non-blocking descriptor."""
    with contextlib.suppress(BlockingIOError):
        while os.read(fd, 4096):
            pass


# ---- control groups: folders that the front has made, v1 or v2


def write(file: str, text: str) -> None:
    """Write to an existing file.

    Raises:
        OSError: it does not exist, or the text is not accepted.
    """
    fd = os.open(file, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _read(file: str) -> str:
    try:
        with open(file) as opened:
            return opened.read()
    except OSError:
        return ""


def set_frozen(folder: str, frozen: bool) -> None:
    """Freeze or thaw the processes of a control group; does nothing if it has no freezer or no longer exists."""
    for file, words in (("cgroup.freeze", ("0", "1")), ("freezer.state", ("THAWED", "FROZEN"))):
        with contextlib.suppress(OSError):
            write(f"{folder}/{file}", words[frozen])


def end_groups(folders: Sequence[str]) -> bool:
    """Kill the processes in control groups and remove the groups. Repeat until it returns True: all are gone."""
    for folder in folders:
        for pid in _read(f"{folder}/cgroup.procs").split():
            if pid != "0":  # a process of another pid namespace
                kill(int(pid), signal.SIGKILL)
        set_frozen(folder, False)
    gone = True
    for folder in folders:
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            pass
        except OSError:
            gone = False
    return gone


def _killed_at_limit(folder: str) -> bool:
    """Whether the kernel killed a process because of this group's limit, not that of a group around it."""
    words = (_read(f"{folder}/memory.events") or _read(f"{folder}/memory.oom_control")).split()
    counts = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    if not counts.get("oom_kill"):
        return False
    if "oom" in counts:
        return counts["oom"] > 0
    # v1 has no such counter: was the group close to its limit?
    most, limit = (int(_read(f"{folder}/memory.{name}_in_bytes") or 0) for name in ("max_usage", "limit"))
    return most > 0.9 * limit


def _alarm(folders: Sequence[str]) -> int | None:
    """A descriptor that becomes readable when a group of v1 is out of memory; None if there is none.

    With v1 the kernel kills only one process; with v2 it kills the whole group (memory.oom.group).
    """
    for folder in folders:
        with contextlib.suppress(OSError, AttributeError):  # a Python without eventfd
            watched = os.open(f"{folder}/memory.oom_control", os.O_RDONLY)
            alarm = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            write(f"{folder}/cgroup.event_control", f"{alarm} {watched}")
            os.close(watched)
            return alarm
    return None


class _Freezer:
    """Suspends and continues the descendants of this guard, where no control group can.

    Args:
        function: the function's process, the leader of its process group.
        channel: to the front. If a message arrives during `freeze`, it is to thaw or to stop.
    """

    def __init__(self, function: int, channel: socket.socket) -> None:
        self._function = function
        self._channel = channel
        self._stopped: dict[int, str] = {}  # pid and start, parents first

    def freeze(self, seconds: float = 0.1) -> None:
        """Suspend all descendants. They may fork and exit meanwhile, so this repeats until three looks find no change.

        Gives up after `seconds`: a process inside a system call stops when that returns.
        """
        if not _LINUX:
            kill_group(self._function, signal.SIGSTOP)
            return
        until = time.monotonic() + seconds
        seen: set[int] = set()
        calm = 0
        while calm < 3 and time.monotonic() < until:
            found = descendants(os.getpid())
            calm = calm + 1 if seen.issuperset(found) else 0
            seen.update(found)
            for pid in found:
                state = _state(pid)
                # A process that the function itself has stopped must stay so after the thaw.
                if state is not None and state[0] not in "TtZX":
                    calm = 0
                    self._stopped[pid] = state[1]
                    kill(pid, signal.SIGSTOP)
            if select.select([self._channel], [], [], 0.0005)[0]:
                return

    def thaw(self) -> None:
        """Continue the processes that `freeze` has suspended."""
        if not _LINUX:
            kill_group(self._function, signal.SIGCONT)
            return
        for pid, start in self._stopped.items():
            state = _state(pid)
            if state is not None and state[1] == start:
                kill(pid, signal.SIGCONT)
        self._stopped.clear()


# ---- the guard


def _run_function(
    start: StartMessage, guard: int, channel: socket.socket, stdout: int, stderr: int, failed: int
) -> NoReturn:
    """In the child: execute the function's command. The errno of a failure is written to `failed`."""
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(1)  # the guard died between fork and prctl
        for folder in start["groups"]:
            write(f"{folder}/cgroup.procs", "0")
        signal.set_wakeup_fd(-1)
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):
            signal.signal(signum, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (stdout, 1), (stderr, 2)):
            os.dup2(source, target, inheritable=True)
        os.chdir(start["cwd"])
        if start["filter"]:
            _offer_listener(channel)
        os.execvpe(start["argv"][0], start["argv"], start["env"])
    except OSError as error:
        os.write(failed, str(error.errno or errno.EIO).encode())
    finally:
        os._exit(127)


def _offer_listener(channel: socket.socket) -> None:
    """Send the filter's descriptor to the front, or the errno if there is none."""
    try:
        listener = install_filter()
    except OSError as error:
        channel.sendall(json.dumps({"filter": error.errno}).encode() + b"\n")
        return
    socket.send_fds(channel, [json.dumps({"filter": 0}).encode() + b"\n"], [listener])
    os.close(listener)


def _guard(start: StartMessage, channel: socket.socket, stdout: int, stderr: int) -> NoReturn:
    """Run the guard: start the function, report its exit, and leave none of its processes behind."""
    os.setsid()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    guard = os.getpid()
    groups = start["groups"]
    wake = wake_on_child()
    alarm = _alarm(groups)
    failed_read, failed_write = os.pipe()
    function = os.fork()
    if function == 0:
        _run_function(start, guard, channel, stdout, stderr, failed_write)
    for fd in (stdout, stderr, failed_write):
        os.close(fd)
    errno_text = os.read(failed_read, 16)  # EOF once exec has succeeded
    os.close(failed_read)

    def report(**message: object) -> None:
        with contextlib.suppress(OSError):
            channel.sendall(json.dumps(message).encode() + b"\n")

    if errno_text:
        end_descendants()
        _remove(groups)
        report(errno=int(errno_text))
        os._exit(0)
    report(pid=function, guard=guard)
    freezer = _Freezer(function, channel)

    def thaw() -> None:
        for folder in groups:
            set_frozen(folder, False)
        freezer.thaw()

    deadline: float | None = None  # when to kill the function
    pending = b""
    poll = select.poll()
    for source in (channel, wake, alarm):
        if source is not None:
            poll.register(source, select.POLLIN)
    status: tuple[int, int] | None = None
    while status is None:
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        ready = poll.poll(timeout)
        for fd, _ in ready:
            if fd == wake:
                drain(wake)
                status = _reap(function)
            elif fd == alarm:
                drain(fd)
                if _soon(lambda: any(map(_killed_at_limit, groups))):
                    deadline = time.monotonic()
            elif data := receive(channel):
                *lines, pending = (pending + data).split(b"\n")
                for message in map(json.loads, lines):
                    if "stop" in message:
                        grace, asked = float(message["stop"]), deadline is not None
                        deadline = time.monotonic() + grace
                        if grace > 0 and not asked:  # many servers take a second SIGTERM as a request to exit at once
                            kill_group(function, signal.SIGTERM)
                            thaw()
                    elif message["freeze"]:
                        freezer.freeze()
                    else:
                        freezer.thaw()
            else:  # the front is gone
                deadline = time.monotonic()
        if status is None and deadline is not None and time.monotonic() >= deadline:
            kill(function, signal.SIGKILL)
            kill_group(function, signal.SIGKILL)
            thaw()
            status = _wait_for(function)
    thaw()
    end_descendants()
    code, peak_kb = status
    out_of_memory = any(map(_killed_at_limit, groups))
    _remove(groups)
    report(exit=code, peak=peak_kb, oom=out_of_memory)
    os._exit(0)


def _soon(happened: Callable[[], bool], seconds: float = 0.2) -> bool:
    """Whether a condition becomes true within `seconds`."""
    until = time.monotonic() + seconds
    while not (done := happened()) and time.monotonic() < until:
        time.sleep(0.001)
    return done


def _remove(groups: Sequence[str]) -> None:
    _soon(lambda: end_groups(groups), 5.0)


def receive(channel: socket.socket) -> bytes:
    """What has arrived on a channel; empty if the other side is gone."""
    try:
        return channel.recv(4096)
    except OSError:
        return b""


def exit_code(status: int) -> int:
    """The exit code in a wait status; 128 + n if signal n terminated the process, as in shells."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _wait_for(pid: int) -> tuple[int, int]:
    _, status, usage = os.wait4(pid, 0)
    return exit_code(status), usage.ru_maxrss


def _reap(function: int) -> tuple[int, int] | None:
    """Reap children that have exited; returns exit code and peak memory (KB) of the function if it is among them."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                return None
            if pid == function:
                return exit_code(status), usage.ru_maxrss
    return None


def _receive_start(channel: socket.socket) -> tuple[StartMessage, list[int]] | None:
    """The next start message and its descriptors; None if the front is gone."""
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
    """Run the keeper: fork a guard for each start message until the front is gone."""
    os.setsid()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    _ignore_terminal()
    wake = wake_on_child()
    guards: dict[int, list[str]] = {}
    lost: list[list[str]] = []  # the control groups of guards that were killed

    def reap() -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0] != 0:
                groups = guards.pop(ended[0], [])
                if ended[1] != 0:
                    lost.append(groups)
        for child in _children(os.getpid()):
            if child not in guards:
                kill(child, signal.SIGKILL)  # a guard that was killed has left it
        lost[:] = [folders for folders in lost if not end_groups(folders)]

    poll = select.poll()
    poll.register(channel, select.POLLIN)
    poll.register(wake, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == wake:
                drain(wake)
                reap()
                continue
            message = _receive_start(channel)
            if message is None:
                _after_the_front(lambda: bool(guards or lost), reap)
                return
            start, fds = message
            pid = os.fork()
            if pid == 0:
                channel.close()
                _guard(start, socket.socket(fileno=fds[0]), fds[1], fds[2])
            guards[pid] = start["groups"]
            for passed in fds:
                os.close(passed)


def _after_the_front(left: Callable[[], bool], reap: Callable[[], None], seconds: float = 10.0) -> None:
    """Wait until the guards, which also notice that the front is gone, have cleaned up; then kill what is left."""
    until = time.monotonic() + seconds
    while left() and time.monotonic() < until:
        reap()
        time.sleep(0.005)
    end_descendants()


if __name__ == "__main__":
    keep(socket.socket(fileno=int(sys.argv[1])))
