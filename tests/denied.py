"""How does a process lose a system call? By a filter of its own, as sandboxes and container engines install them."""

from __future__ import annotations

import ctypes
import struct

PIDFD_GETFD = 438
"""Its number on x86_64 and on aarch64."""


def deny(number: int) -> None:
    """Have the kernel answer EPERM to a system call of this process from here on, whatever its arguments.

    Raises:
        OSError: the filter could not be installed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    instruction = struct.Struct("=HBBI")
    steps = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)]
    code = ctypes.create_string_buffer(b"".join(instruction.pack(*step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(code)))
    for arguments in ((38, 1, 0, 0, 0), (22, 2, program, 0, 0)):  # PR_SET_NO_NEW_PRIVS; PR_SET_SECCOMP, mode filter
        if libc.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
    assert libc.syscall(number, -1, 0, 0) == -1
    assert ctypes.get_errno() == 1  # EPERM; without the filter it would be EBADF
