from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmos.evaluation.sandbox import landlock, run, seccomp
from llmos.evaluation.sandbox.run import Outcome, SandboxError, run_all, run_code

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not landlock.version() or not seccomp.is_known(),
    reason="the sandbox needs Linux 5.13 with Landlock, on x86-64 or ARM",
)


def attempt(program: str, **names: object) -> Outcome:
    """Run lines that must all fail by themselves: each try prints what the kernel said."""
    header = "".join(f"{name} = {value!r}\n" for name, value in names.items())
    return run_code(HELPER + header + textwrap.dedent(program))


HELPER = """
import ctypes, errno, fcntl, os, resource, signal, socket, subprocess, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
def refused(action, *arguments):
    try:
        action(*arguments)
    except (OSError, RuntimeError) as error:
        print("refused", getattr(error, "errno", None))
    else:
        print("ESCAPED", action, arguments)
def call(number, *arguments):
    if libc.syscall(number, *arguments) == -1:
        raise OSError(ctypes.get_errno(), "")
def read(path):
    with open(path, "rb") as file: file.read()
def write(path):
    with open(path, "ab") as file: file.write(b"x")
"""


def all_refused(outcome: Outcome, tries: int) -> bool:
    lines = outcome.stdout.splitlines()
    assert len(lines) == tries, outcome
    assert all(line.startswith("refused") for line in lines), outcome
    return outcome.status == "ok"


@pytest.fixture
def server() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_a_program_runs_to_its_end() -> None:
    found = run_code("import math\nprint(input(), '中', math.pi > 3)", stdin="ein Wort\n")
    assert (found.status, found.stdout, found.stderr) == ("ok", "ein Wort 中 True\n", "")
    assert {"seccomp", "limits"} < set(found.walls) and "Landlock" in found.walls[0]


@pytest.mark.parametrize(
    ("program", "status", "stderr"),
    [
        ("assert 1 == 2, 'no'", "error", "AssertionError: no"),
        ("def f(:", "error", "SyntaxError"),
        ("import numpy", "error", "ModuleNotFoundError"),
        ("def f(): f()\nf()", "error", "RecursionError"),
        ("import sys; sys.exit(0)", "exit", ""),
        ("import os; os._exit(0)", "exit", ""),
        ("raise KeyboardInterrupt", "error", "KeyboardInterrupt"),
        ("import ctypes; ctypes.string_at(0)", "killed", ""),
        ("import os; os.abort()", "killed", ""),
        ("x = bytearray(1 << 40)", "memory", ""),
        ("print('\\ud800')", "error", "surrogates"),
    ],
)
def test_how_programs_end(program: str, status: str, stderr: str) -> None:
    found = run_code(program)
    assert found.status == status
    assert stderr in found.stderr and "jail" not in found.stderr


def test_the_main_module_is_the_programs_own() -> None:
    found = run_code(
        "import os, pickle, sys\nclass A: pass\nassert type(pickle.loads(pickle.dumps(A()))) is A\n"
        "assert __name__ == '__main__' and sys.argv == ['program.py'] and not os.environ\n"
        "assert not any('llmos' in name for name in sys.modules) and os.listdir() == []\n"
        "print(hash('a'), list({'b', 'c', 'd'}))"
    )
    assert found.status == "ok", found.stderr
    assert run_code("print(hash('a'), list({'b', 'c', 'd'}))").stdout == found.stdout


def test_its_folder_can_be_used_and_goes_with_it() -> None:
    found = run_code(
        "import os, tempfile\nopen('a', 'w').write('x' * 100)\nos.mkdir('b')\n"
        "os.rename('a', 'b/a')\nos.symlink('b/a', 'c')\nprint(open('c').read()[:2], os.getcwd())\n"
        "os.remove('b/a'); os.rmdir('b')"
    )
    text, folder = found.stdout.split()
    assert (found.status, text) == ("ok", "xx")
    assert not Path(folder).exists()


def test_it_reaches_no_network(server: int) -> None:
    found = attempt(
        """
        refused(socket.create_connection, ("127.0.0.1", port))
        refused(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        refused(socket.socket, socket.AF_UNIX)
        refused(socket.socketpair, socket.AF_UNIX, socket.SOCK_DGRAM)
        a, b = socket.socketpair()  # what asyncio needs; it leads nowhere
        refused(a.connect, "/run/dbus/system_bus_socket")
        refused(a.bind, "here")
        """,
        port=server,
    )
    assert all_refused(found, 6)
    assert run_code("import asyncio\nasyncio.run(asyncio.sleep(0))").status == "ok"


def test_it_changes_no_file_outside(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("mine")
    before = kept.stat()
    found = attempt(
        """
        refused(write, kept)
        refused(write, os.path.dirname(kept) + "/new")
        refused(os.truncate, kept, 0)
        refused(os.remove, kept)
        refused(os.chmod, kept, 0o777)
        refused(os.utime, kept)
        refused(os.rename, kept, "taken")
        refused(os.link, kept, "linked")
        refused(os.mkdir, os.path.dirname(kept) + "/folder")
        open("own", "w").close()
        refused(os.rename, "own", kept)
        os.symlink(kept, "link")
        refused(write, "link")
        refused(write, "../" * 30 + kept)
        refused(write, "/etc/passwd")
        refused(write, sys.executable)
        refused(write, os.__file__)
        """,
        kept=str(kept),
    )
    assert all_refused(found, 15)
    after = kept.stat()
    assert kept.read_text() == "mine" and os.listdir(tmp_path) == ["kept"]
    assert (before.st_mode, before.st_mtime_ns) == (after.st_mode, after.st_mtime_ns)


def test_it_reads_no_file_outside(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    found = attempt(
        """
        for path in (secret, "/etc/passwd", "/proc/self/environ", "/proc/self/mem",
                     f"/proc/{parent}/environ", f"/proc/{parent}/cmdline", f"/proc/{parent}/mem",
                     "/proc/1/cmdline", "/dev/mem", "/dev/tty"):
            refused(read, path)
        os.symlink(secret, "link")
        refused(read, "link")
        refused(os.listdir, os.path.dirname(secret))
        refused(os.listdir, f"/proc/{parent}/fd")
        refused(read, f"/proc/{parent}/root{secret}")
        """,
        secret=str(secret),
        parent=os.getpid(),
    )
    assert all_refused(found, 14)


def test_it_starts_no_process_thread_or_program() -> None:
    found = attempt(
        """
        for _ in range(3):
            refused(os.fork)
        refused(subprocess.run, ["/bin/true"])
        print("ESCAPED" if os.system("true") == 0 else "refused")
        refused(threading.Thread(target=print).start)
        refused(os.execv, sys.executable, [sys.executable])
        refused(os.posix_spawn, "/bin/true", ["true"], {})
        """
    )
    assert all_refused(found, 8)


def test_it_touches_no_other_process() -> None:
    found = attempt(
        """
        for number in (0, signal.SIGTERM, signal.SIGKILL):
            refused(os.kill, parent, number)
            refused(os.kill, -1, number)
        refused(os.killpg, os.getpgrp(), signal.SIGKILL)
        refused(resource.prlimit, parent, resource.RLIMIT_CPU, (0, 0))
        refused(os.setpriority, os.PRIO_PROCESS, parent, 19)
        refused(os.sched_setaffinity, parent, {0})
        own, other = socket.socketpair()
        for command in (8, 10, 15, 1024):
            refused(fcntl.fcntl, own, command, bytes(16))
        refused(fcntl.ioctl, own, 0x8901, bytes(4))
        os.kill(os.getpid(), 0)
        """,
        parent=os.getpid(),
    )
    assert all_refused(found, 15)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86-64")
def test_calls_by_number_are_refused_too() -> None:
    found = attempt(
        """
        for number in (41, 57, 101, 165, 272, 319, 321, 425, 435, 437, 452, 500):
            refused(call, number, 0, 0, 0, 0)
        """
    )
    assert all_refused(found, 12)
    assert [int(line.split()[1]) for line in found.stdout.splitlines()][7:] == [38] * 5
    # The other ways into the kernel end the program: x32 numbers on x86-64.
    assert attempt("call(0x40000000 + 39)").status == "killed"


def test_endless_programs_are_ended() -> None:
    assert run_code("while True: pass", timeout=1).status == "timeout"


@pytest.mark.slow
def test_programs_that_wait_or_do_not_listen_are_ended() -> None:
    assert run_code("import time; time.sleep(1000)", timeout=0.1).status == "timeout"
    deaf = "import signal; signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass"
    assert run_code(deaf, timeout=1).status == "killed"


def test_memory_output_and_disk_have_limits() -> None:
    hungry = "x = []\nwhile True: x.append(bytearray(1 << 20))"
    assert run_code(hungry, memory=200 << 20).status == "memory"
    for stream in ("stdout", "stderr"):
        found = run_code(f"import sys\nwhile True: sys.{stream}.write('x' * 1000)")
        assert found.status == "output" and len(getattr(found, stream)) == 1 << 16
    found = run_code("with open('a', 'wb') as f:\n while True: f.write(bytes(1 << 20))")
    assert found.status in ("error", "killed")
    if "small folder" in found.walls:
        found = run_code("for n in range(9):\n  open(f'{n}', 'wb').write(bytes(10 << 20))")
        assert found.status == "error" and "No space left" in found.stderr


def test_success_cannot_be_claimed_from_outside_the_report() -> None:
    found = run_code(
        "import os\nfor number in range(1, 64):\n"
        "    try: os.write(number, b'ok\\n' + b'0' * 32 + b' ok\\n')\n"
        "    except OSError: pass\nos._exit(0)"
    )
    assert found.status == "exit"


def test_the_walls_stand_where_namespaces_are_refused(tmp_path: Path, server: int) -> None:
    # A process to which seccomp refuses unshare, as containers do; what it starts inherits that.
    secret = tmp_path / "secret"
    secret.write_text("secret")
    program = HELPER + textwrap.dedent(
        f"""
        refused(read, {str(secret)!r})
        refused(write, {str(secret)!r})
        refused(socket.create_connection, ("127.0.0.1", {server}))
        refused(os.kill, os.getppid(), 9)
        refused(os.fork)
        """
    )
    unshare = 272 if os.uname().machine == "x86_64" else 97
    script = f"""
from llmos.evaluation.sandbox import kernel, seccomp
from llmos.evaluation.sandbox.run import run_code
kernel.renounce_privileges()
one = seccomp._one
kernel.filter_syscalls(one(0x20, 0) + one(0x15, {unshare}, 0, 1) + one(6, 0x50001)
                       + one(6, 0x7FFF0000))
found = run_code({program!r})
assert found.status == "ok" and found.stdout.count("refused") == 5, found
assert "no network" not in found.walls and "ESCAPED" not in found.stdout, found
"""
    source = str(Path(run.__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": source}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_many_programs_keep_their_order() -> None:
    found = run_all([f"print({n})" for n in range(6)], workers=2)
    assert [one.stdout for one in found] == [f"{n}\n" for n in range(6)]


def test_a_system_without_walls_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SandboxError, match="no sandbox on darwin"):
        run_code("print(1)")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(run, "_START", "import sys; sys.exit('no such thing')")
    with pytest.raises(SandboxError, match="no such thing"):
        run_code("print(1)")
