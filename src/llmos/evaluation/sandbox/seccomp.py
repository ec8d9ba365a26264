"""Which system calls a process may make, by a seccomp filter (Linux 3.17; seccomp(2)).

The filter refuses what leads out of the process: sockets, new processes and threads, programs,
signals to and changes of other processes, file systems, owners and modes of files (which Landlock
does not look at), memory that no limit counts, and parts of the kernel that code has no use for.
Calls that came with Linux 5.1 and later (424 and above; one list for all processors since) "are not
there", so what a future kernel adds is refused too; C libraries do without.
"""

from __future__ import annotations

import errno
import os
import struct
from dataclasses import dataclass

_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06  # BPF: words, constants
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # places in struct seccomp_data
_NEWER = 424
_X32 = 0x40000000  # a second way to make calls on x86-64

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

# Numbers on x86-64 and on 64-bit ARM; None where there is no such call.
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    # processes, threads, programs
    "clone": (56, 220), "fork": (57, None), "vfork": (58, None),
    "execve": (59, 221), "execveat": (322, 281),
    # other processes
    "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "kcmp": (312, 272), "setpriority": (141, 140), "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118), "sched_setattr": (314, 274), "sched_setaffinity": (203, 122),
    "ioprio_set": (251, 30), "migrate_pages": (256, 238), "move_pages": (279, 239),
    # files that are there, by anything but opening them
    "truncate": (76, 45), "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53),
    "chown": (92, None), "lchown": (94, None), "fchown": (93, 55), "fchownat": (260, 54),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "mknod": (133, None), "mknodat": (259, 33), "open_by_handle_at": (304, 265),
    "inotify_init": (253, None), "inotify_init1": (294, 26), "fanotify_init": (300, 262),
    # file systems and namespaces
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "unshare": (272, 97), "setns": (308, 268), "quotactl": (179, 60),
    "swapon": (167, 224), "swapoff": (168, 225),
    # memory that is counted nowhere, or outlives the process
    "memfd_create": (319, 279), "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190),
    "mq_open": (240, 180), "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    # what ends the process with its parent; the kernel itself
    "prctl": (157, 167), "seccomp": (317, 277),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "syslog": (103, 116), "acct": (163, 89), "personality": (135, 92),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171),
    "clock_adjtime": (305, 266), "iopl": (172, None), "ioperm": (173, None),
    "modify_ldt": (154, None), "sethostname": (170, 161), "setdomainname": (171, 162),
    "vhangup": (153, 58), "lookup_dcookie": (212, 18),
}  # fmt: skip


@dataclass(frozen=True)
class _Condition:
    """A call that depends on one of its arguments, under a mask."""

    numbers: tuple[int, int]
    argument: int
    values: tuple[int, ...]
    is_allowed: bool
    """Whether it is allowed with these values only, or refused with these only."""
    mask: int = 0xFFFFFFFF


def _conditions(process: int) -> tuple[_Condition, ...]:
    return (
        _Condition((62, 129), 0, (process,), True),  # kill
        _Condition((234, 131), 0, (process,), True),  # tgkill
        _Condition((302, 261), 0, (0,), True),  # prlimit64: its own limits
        # socketpair: SOCK_STREAM, which asyncio needs and which is sent nowhere else.
        _Condition((53, 199), 1, (1,), True, 0xF),
        # A file that belongs to a process signals it: F_SETOWN, F_SETSIG, F_SETOWN_EX, and the same
        # by FIOSETOWN, SIOCSPGRP; F_SETLEASE makes others wait. TIOCSTI types into a terminal.
        _Condition((72, 25), 1, (8, 10, 15, 1024), False),  # fcntl
        _Condition((16, 29), 1, (0x8901, 0x8902, 0x5412), False),  # ioctl
    )


def is_known(machine: str = os.uname().machine) -> bool:
    """Whether there is a filter for a processor."""
    return machine in _ARCHITECTURES


def filter_of(process: int, machine: str = os.uname().machine) -> bytes:
    """The filter for a process, as BPF instructions of 8 bytes."""
    column, architecture = _ARCHITECTURES[machine]
    refuse = _ERROR | errno.EPERM
    code = [
        _one(_LOAD, _ARCHITECTURE), _one(_EQUAL, architecture, 1, 0), _one(_RETURN, _KILL),
        _one(_LOAD, _NUMBER), _one(_AT_LEAST, _X32, 0, 1), _one(_RETURN, _KILL),
        _one(_AT_LEAST, _NEWER, 0, 1), _one(_RETURN, _ERROR | errno.ENOSYS),
    ]  # fmt: skip
    for numbers in _REFUSED.values():
        number = numbers[column]
        if number is not None:
            code += [_one(_EQUAL, number, 0, 1), _one(_RETURN, refuse)]
    for condition in _conditions(process):
        met, otherwise = (_ALLOW, refuse) if condition.is_allowed else (refuse, _ALLOW)
        body = [
            _one(_LOAD, _ARGUMENTS + 8 * condition.argument),  # the low word: little-endian
            _one(_AND, condition.mask),
        ]
        for value in condition.values:
            body += [_one(_EQUAL, value, 0, 1), _one(_RETURN, met)]
        body.append(_one(_RETURN, otherwise))
        code += [_one(_EQUAL, condition.numbers[column], 0, len(body)), *body]
    return b"".join([*code, _one(_RETURN, _ALLOW)])


def _one(code: int, constant: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, constant)
