"""Which files a process may open, by Landlock (Linux 5.13; kernel.org, userspace-api/landlock).

What is not granted is refused by the kernel, whatever the path: links and /proc lead nowhere. No
right is needed to have it. Versions ("ABI") add rights; those that the kernel knows are all held.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

from llmos.evaluation.sandbox import kernel

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every processor
_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_REMOVE, _MAKE_DIR, _MAKE_REG, _MAKE_SYM = 3 << 4, 1 << 7, 1 << 8, 1 << 12
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_FILES = {1: 13, 2: 14, 3: 15, 5: 16}  # from this version on, as many rights over files
_NETWORK, _SCOPES = 0b11, 0b11  # bind and connect; sockets and signals outside


def version() -> int:
    """The kernel's version of Landlock; 0 without it."""
    try:
        return kernel.syscall(_CREATE_RULESET, None, 0, 1)
    except OSError:
        return 0


def restrict(readable: Iterable[str], writable: Iterable[str], devices: Iterable[str]) -> None:
    """From now on this process reads below `readable`, writes below `writable` too, reads and
    writes `devices`, and opens nothing else; it executes nothing. Paths that are not there are
    left out. Raises `OSError` where Landlock is not to be had."""
    abi = version()
    known = (1 << max(bits for since, bits in _FILES.items() if since <= max(abi, 1))) - 1
    ruleset = struct.pack("QQQ", known, _NETWORK if abi >= 4 else 0, _SCOPES if abi >= 6 else 0)[
        : 24 if abi >= 6 else 16 if abi >= 4 else 8
    ]
    rules = kernel.syscall(_CREATE_RULESET, ruleset, len(ruleset), 0)
    read = _READ_FILE | _READ_DIR
    change = _WRITE_FILE | _REMOVE | _MAKE_DIR | _MAKE_REG | _MAKE_SYM | _REFER | _TRUNCATE
    for paths, rights in (
        (readable, read),
        (writable, read | change),
        (devices, _READ_FILE | _WRITE_FILE | _TRUNCATE),
    ):
        for path in paths:
            _grant(rules, path, rights & known)
    kernel.syscall(_RESTRICT_SELF, rules, 0)
    os.close(rules)


def _grant(rules: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    if not os.path.isdir(path):
        rights &= _READ_FILE | _WRITE_FILE | _TRUNCATE
    kernel.syscall(_ADD_RULE, rules, 1, struct.pack("=Qi", rights, place), 0)
    os.close(place)
