"""Run a command with a PostgreSQL and an S3 server of its own: `with_servers.py COMMAND...`.

The command finds them in its environment: LLMOS_TEST_DATABASE (a URL whose user may make
databases), LLMOS_TEST_RESTART (a command that restarts PostgreSQL at once, as a crash would),
LLMOS_TEST_S3 (the URL of the S3 server, with keys in AWS_...). Both are gone when it ends.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def found(pattern: str, what: str) -> Path:
    """The newest file that fits, or the end with one line."""
    paths = sorted(Path("/").glob(pattern.lstrip("/")))
    if not paths:
        sys.exit(f"error: {what} is not installed: run make test-system")
    return paths[-1]


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[dict[str, str]]:
    """A cluster in `folder`; PostgreSQL refuses to be run by root, so then user postgres does."""
    programs = found("/usr/lib/postgresql/*/bin/pg_ctl", "PostgreSQL").parent
    before: list[str] = []
    if os.getuid() == 0:
        before = ["runuser", "-u", "postgres", "--"]
        os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
    data, port = folder / "data", free_port()
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder}"
    options += " -c fsync=off -c full_page_writes=off"  # the machine does not crash, only processes
    control = [*before, str(programs / "pg_ctl"), "-D", str(data), "-w", "-l", str(folder / "log")]
    initdb = [str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", "hub", "-E", "UTF8"]
    quiet = {"stdout": subprocess.DEVNULL, "cwd": folder}
    subprocess.run([*before, *initdb], check=True, **quiet)
    subprocess.run([*control, "-o", options, "start"], check=True, **quiet)
    try:
        restart = [*control, "-m", "immediate", "-o", options, "restart"]
        url = f"postgresql://hub@127.0.0.1:{port}/postgres"
        yield {"LLMOS_TEST_DATABASE": url, "LLMOS_TEST_RESTART": shlex.join(restart)}
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=False, **quiet)


@contextlib.contextmanager
def s3() -> Iterator[dict[str, str]]:
    """An S3 server in memory (moto, in an environment of its own: it needs older libraries)."""
    program = Path(sys.prefix) / "s3" / "bin" / "moto_server"
    if not program.exists():
        sys.exit("error: moto is not installed: run make test-system")
    port = free_port()
    server = subprocess.Popen(
        [program, "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        else:
            sys.exit("error: the S3 server did not start")
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        yield {"LLMOS_TEST_S3": f"http://127.0.0.1:{port}", "AWS_REGION": "us-east-1", **keys}
    finally:
        server.kill()
        server.wait()


def main() -> int:
    """Run the command; its exit code."""
    folder = Path(tempfile.mkdtemp(prefix="llmos-system-"))
    try:
        with postgresql(folder) as database, s3() as storage:
            environment = {**os.environ, **database, **storage}
            return subprocess.run(sys.argv[1:], env=environment).returncode
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
