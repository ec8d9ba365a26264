"""Calls of the Linux kernel that Python 3.11 has no function for."""

from __future__ import annotations

import ctypes
import os
import struct

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_SIGKILL = 9


def syscall(number: int, *arguments: int | bytes | None) -> int:
    """A system call by its number. Raises `OSError`."""
    return _checked(_LIBC.syscall(*map(_argument, (number, *arguments))))


def call(name: str, *arguments: int | bytes | None) -> int:
    """A function of the C library that gives -1 for an error. Raises `OSError`."""
    return _checked(getattr(_LIBC, name)(*map(_argument, arguments)))


def die_with_parent() -> None:
    """Have this process killed when the thread that started it ends."""
    call("prctl", _PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)


def renounce_privileges() -> None:
    """No program started from here gains rights; and all capabilities that root has are gone."""
    call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header = struct.pack("Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    call("capset", header, bytes(24))


def filter_syscalls(program: bytes) -> None:
    """Load a seccomp filter of 8-byte BPF instructions; it holds until the process ends."""
    instructions = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: the number of instructions, and where they are.
    loaded = struct.pack("H6xP", len(program) // 8, ctypes.addressof(instructions))
    call("prctl", _PR_SET_SECCOMP, 2, loaded, 0, 0)


def _argument(value: int | bytes | None) -> ctypes.c_long | bytes | None:
    return ctypes.c_long(value) if isinstance(value, int) else value


def _checked(result: int) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
