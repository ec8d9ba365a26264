"""Run generated code: `run_code(program)`, and `run_all(programs)` on several cores.

The program is one Python script with the standard library. It runs in a process of its own that

* opens no file but those of an empty folder, which it may change, and Python's, which it may read;
* has no network, and starts no process, thread or other program;
* can neither see, signal nor change any other process, and has an empty environment;
* ends when its processor time, memory, output or disk space is used up (64 MiB; of each file, where
  the system refuses user namespaces).

Linux 5.13 on x86-64 or ARM is needed, no rights of any kind. The walls keep code in. They do not
keep it from cheating: what shares an interpreter with its tests can change what they compare.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from signal import SIGXCPU
from typing import Literal, cast, get_args

from llmos.errors import UsageError

Status = Literal["ok", "error", "exit", "timeout", "memory", "output", "killed"]
"""ok: ran to its end; error: an exception; exit: ended itself before its end, whatever the code;
killed: a crash. Only "ok" is a pass: a program that exits before its tests has not passed them."""

_MIB = 1 << 20
_OUTPUT = 1 << 16
_DISK = 64 * _MIB
_SOURCE = Path(__file__).parents[3]
_START = (
    f"import sys; sys.path.insert(0, {str(_SOURCE)!r});"
    " from llmos.evaluation.sandbox.jail import main; del sys.path[0];"
    " main(int(sys.argv[1]), int(sys.argv[2]))"
)


class SandboxError(UsageError):
    """This system cannot hold code that is not trusted."""


@dataclass(frozen=True)
class Outcome:
    """How a program ended. Output is cut at 64 KiB each; walls: what held the program."""

    status: Status
    stdout: str
    stderr: str
    walls: tuple[str, ...]


def run_code(
    program: str, *, stdin: str = "", timeout: float = 10.0, memory: int = 512 * _MIB
) -> Outcome:
    """Run a Python program behind the walls.

    timeout: seconds of processor time, rounded up, so that a busy machine changes no outcome; a
    program that only waits is ended after four times as much and 5 seconds. memory: bytes of
    address space. Hashes of texts are the same in every run.

    Raises `SandboxError` on systems without the walls.
    """
    if sys.platform != "linux":
        raise SandboxError(
            f"no sandbox on {sys.platform}: run generated code on Linux 5.13 or later"
        )
    nonce = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="llmos-sandbox-") as folder:
        settings = {
            "nonce": nonce, "program": program, "folder": folder, "disk": _DISK,
            "seconds": math.ceil(timeout), "memory": memory,
        }  # fmt: skip
        with _process(json.dumps(settings), stdin, folder) as (process, reports):
            streams = _read(process, reports, time.monotonic() + 4 * timeout + 5)
    return _outcome(nonce, process.returncode, *streams)


def run_all(
    programs: Sequence[str],
    *,
    timeout: float = 10.0,
    memory: int = 512 * _MIB,
    workers: int | None = None,
) -> list[Outcome]:
    """The outcomes of many programs in their order, `workers` at a time (as many as cores)."""
    with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(partial(run_code, timeout=timeout, memory=memory), programs))


@contextmanager
def _process(
    settings: str, stdin: str, folder: str
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The process, and where its reports are read from; it is gone at the end."""
    reports, reports_to = os.pipe()
    try:
        # Files, not pipes: they hold any length without somebody writing at the other end.
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as inputs:
            for file, text in ((given, settings), (inputs, stdin)):
                file.write(text.encode("utf-8", "surrogatepass"))
                file.seek(0)
            flags = ["-s", "-P", "-S", "-B", "-X", "utf8"]
            process = subprocess.Popen(
                [sys.executable, *flags, "-c", _START, str(given.fileno()), str(reports_to)],
                stdin=inputs,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(given.fileno(), reports_to),
                env={"PYTHONHASHSEED": "0"},
                cwd=folder,
                start_new_session=True,
            )
    except BaseException:
        os.close(reports)
        raise
    finally:
        os.close(reports_to)
    try:
        yield process, reports
    finally:
        process.kill()
        process.wait()
        os.close(reports)
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()


def _read(
    process: subprocess.Popen[bytes], reports: int, deadline: float
) -> tuple[bytes, bytes, bytes, Status | None]:
    """stdout, stderr, reports, and why reading ended, if not because the process did."""
    assert process.stdout and process.stderr
    places = [process.stdout.fileno(), process.stderr.fileno(), reports]
    found = {place: bytearray() for place in places}
    stopped: Status | None = None
    with selectors.DefaultSelector() as selector:
        for place in places:
            selector.register(place, selectors.EVENT_READ)
        while selector.get_map() and not stopped:
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                stopped = "timeout"
            for key, _ in ready:
                some = os.read(key.fd, _OUTPUT)
                found[key.fd] += some
                if not some:
                    selector.unregister(key.fd)
                elif len(found[key.fd]) > _OUTPUT:
                    stopped = "output"
    if not stopped:
        process.wait()
    stdout, stderr, lines = (bytes(found[place][:_OUTPUT]) for place in places)
    return stdout, stderr, lines, stopped


def _outcome(
    nonce: str, code: int, stdout: bytes, stderr: bytes, lines: bytes, stopped: Status | None
) -> Outcome:
    said = [line.split(" ", 1)[1] for line in _text(lines).splitlines()
            if line.startswith(f"{nonce} ")]  # fmt: skip
    walls: tuple[str, ...] = ()
    status: Status = stopped or ("killed" if code < 0 else "exit")
    for line in said:
        word, _, rest = line.partition(" ")
        if word == "refused":
            raise SandboxError(f"{rest}: run generated code on Linux 5.13 or later, x86-64 or ARM")
        if word == "walls":
            walls = tuple(rest.split(", "))
        elif word in get_args(Status) and not stopped:
            status = cast(Status, word)
    if code == -SIGXCPU:
        status = "timeout"
    if not walls and not stopped:
        raise SandboxError(f"the sandbox did not start: {_text(stderr)[-200:]!r}")
    return Outcome(status, _text(stdout), _text(stderr), walls)


def _text(output: bytes) -> str:
    return output.decode(errors="replace")
