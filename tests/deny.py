"""Run a command with some system calls refused (EPERM), as a sandbox does: deny.py NAME[,NAME...] COMMAND...

By a seccomp filter, which the command and all that it starts inherit. Knows the calls that tests need.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

NUMBERS = {
    "x86_64": {"perf_event_open": 298, "sched_setscheduler": 144, "process_vm_readv": 310},
    "aarch64": {"perf_event_open": 241, "sched_setscheduler": 119, "process_vm_readv": 270},
}[platform.machine()]

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
ALLOW, ERRNO_EPERM = 0x7FFF0000, 0x00050001


class Filter(ctypes.Structure):
    """struct sock_fprog"""

    _fields_ = [("length", ctypes.c_ushort), ("program", ctypes.c_char_p)]


def instruction(code: int, true: int, false: int, value: int) -> bytes:
    """struct sock_filter"""
    return struct.pack("HBBI", code, true, false, value)


def deny(names: list[str]) -> None:
    """Refuse these system calls from here on, in this process and its children."""
    program = instruction(LOAD, 0, 0, 0)  # seccomp_data.nr
    for name in names:
        program += instruction(JUMP_IF_EQUAL, 0, 1, NUMBERS[name]) + instruction(RETURN, 0, 0, ERRNO_EPERM)
    program += instruction(RETURN, 0, 0, ALLOW)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    description = Filter(len(program) // 8, program)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(description), 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_SECCOMP)")


if __name__ == "__main__":
    deny(sys.argv[1].split(","))
    os.execvp(sys.argv[2], sys.argv[2:])
