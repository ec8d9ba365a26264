"""The process that generated code runs in: it raises the walls, then becomes the program.

Started by `run` with the settings on one file descriptor and a pipe for its reports on another.
It imports the standard library only, because nothing else can be read behind the walls.
"""

from __future__ import annotations

import json
import linecache
import os
import resource
import sys
import sysconfig
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any

from llmos.evaluation.sandbox import kernel, landlock, namespaces, seccomp

_FILE = "program.py"
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/urandom", "/dev/random")
_LIBRARIES = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/etc/localtime",
    "/usr/share/zoneinfo",
)  # fmt: skip
_OPEN_FILES = 64


def main(settings_from: int, reports_to: int) -> None:
    """Run the program of the settings; ends the process."""
    with open(settings_from, encoding="utf-8") as file:
        settings = json.load(file)
    report = _reporter(reports_to, settings.pop("nonce"))
    try:
        walls = _raise_walls(settings)
    except OSError as error:
        report(f"refused {error}")
        os._exit(1)
    report(f"walls {', '.join(walls)}")
    report(_become(settings["program"]))
    os._exit(0)


def _reporter(reports_to: int, nonce: str) -> Callable[[str], None]:
    def report(line: str) -> None:
        os.write(reports_to, f"{nonce} {line}\n".encode())

    return report


def _raise_walls(settings: dict[str, Any]) -> list[str]:
    """The names of the walls that stand. Raises `OSError` without Landlock or seccomp."""
    version = landlock.version()
    if not version or not seccomp.is_known():
        raise OSError("no Landlock, or no filter for this processor")
    kernel.die_with_parent()
    folder = settings["folder"]
    walls = namespaces.enter(folder, settings["disk"])
    os.chdir(folder)
    kernel.renounce_privileges()
    base = os.path.join(sys.base_prefix, "lib")
    library = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), base)
    landlock.restrict((*library, *_LIBRARIES), (folder,), _DEVICES)
    _limit(settings)
    kernel.filter_syscalls(seccomp.filter_of(os.getpid()))
    return [f"Landlock {version}", "seccomp", "limits", *walls]


def _limit(settings: dict[str, Any]) -> None:
    seconds = settings["seconds"]
    for what, soft, hard in (
        (resource.RLIMIT_AS, settings["memory"], settings["memory"]),
        (resource.RLIMIT_CPU, seconds, seconds + 1),
        (resource.RLIMIT_FSIZE, settings["disk"], settings["disk"]),
        (resource.RLIMIT_NOFILE, _OPEN_FILES, _OPEN_FILES),
        (resource.RLIMIT_NPROC, 0, 0),
        (resource.RLIMIT_MEMLOCK, 0, 0),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        limit = resource.getrlimit(what)[1]
        allowed = hard if limit == resource.RLIM_INFINITY else min(hard, limit)
        resource.setrlimit(what, (min(soft, allowed), allowed))


def _become(program: str) -> str:
    """Run the program as the main module, and say how it went."""
    module = ModuleType("__main__")
    for name in [name for name in sys.modules if name.partition(".")[0] == "llmos"]:
        del sys.modules[name]
    sys.modules["__main__"] = module
    sys.argv[:] = [_FILE]
    os.environ.clear()
    linecache.cache[_FILE] = (len(program), None, program.splitlines(True), _FILE)
    try:
        exec(compile(program, _FILE, "exec"), module.__dict__)
        sys.stdout.flush()
        sys.stderr.flush()
    except SystemExit:
        return "exit"
    except MemoryError:
        return "memory"
    except BaseException as error:
        beyond = error.__traceback__ and error.__traceback__.tb_next
        traceback.print_exception(type(error), error, beyond)
        sys.stderr.flush()
        return "error"
    return "ok"
