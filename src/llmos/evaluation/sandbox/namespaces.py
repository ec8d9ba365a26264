"""A network, a folder and queues of its own for a process, where the system lets users have them.

They come on top of Landlock and seccomp, which hold without: containers and some distributions
refuse user namespaces (user_namespaces(7)).
"""

from __future__ import annotations

import os

from llmos.evaluation.sandbox import kernel

_NEW_MOUNTS, _NEW_QUEUES, _NEW_USER, _NEW_NETWORK = 0x20000, 0x8000000, 0x10000000, 0x40000000
_PRIVATE, _RECURSIVE = 1 << 18, 1 << 14
_NO_SETUID, _NO_DEVICES, _NO_PROGRAMS = 2, 4, 8
_FILES = 4096


def enter(folder: str, bytes: int) -> list[str]:
    """Leave the networks of the machine, and put an empty file system of so many bytes on `folder`,
    which goes with the process. Gives the walls that stand, none where the system refuses."""
    user, group = os.getuid(), os.getgid()
    try:
        kernel.call("unshare", _NEW_USER | _NEW_MOUNTS | _NEW_QUEUES | _NEW_NETWORK)
    except OSError:
        return []
    walls = ["no network"]
    try:
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{user} {user} 1")
        _write("/proc/self/gid_map", f"{group} {group} 1")
        kernel.call("mount", b"none", b"/", None, _PRIVATE | _RECURSIVE, None)
        flags = _NO_SETUID | _NO_DEVICES | _NO_PROGRAMS
        options = f"size={bytes},nr_inodes={_FILES},mode=700".encode()
        kernel.call("mount", b"tmpfs", os.fsencode(folder), b"tmpfs", flags, options)
    except OSError:  # the folder stays the one on disk
        return walls
    return [*walls, "small folder"]


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
