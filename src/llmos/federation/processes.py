"""Members as processes of their own: `python -m llmos.federation.processes HOME NAME DATA ...`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from llmos.errors import DataError, LLMOSError, StorageError
from llmos.federation.exchange.directory import DirectoryExchange
from llmos.federation.member import Member
from llmos.storage import exclusive_lock
from llmos.training.loop import use_deterministic

POLL_SECONDS = 0.01
LOCK_SECONDS = 120.0
BAD_DATA, INTERRUPTED = 3, 130
"""Exit codes of a member's process."""


class MemberProcesses:
    """Starts a process per member and watches them; stops them when the block is left."""

    def __init__(self, folder: Path, members: Mapping[str, str], threads: int) -> None:
        self._commands = {
            name: [
                sys.executable,
                "-m",
                "llmos.federation.processes",
                str(folder / "members" / name),
                name,
                path,
                str(folder / "exchange"),
                str(threads),
                str(os.getpid()),
            ]
            for name, path in members.items()
        }
        self._logs = {name: folder / "members" / name / "process.log" for name in members}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> MemberProcesses:
        for name, command in self._commands.items():
            with self._logs[name].open("ab") as log:
                self._running[name] = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
        return self

    def wait(self, seconds: float) -> None:
        """Sleep, then raise `StorageError` with its last words if a member's process has failed."""
        time.sleep(seconds)
        for name, process in self._running.items():
            if process.poll() == INTERRUPTED:
                raise KeyboardInterrupt  # Ctrl-C reaches every process of a terminal, this one too
            if process.returncode not in (None, 0):
                log = self._logs[name].read_text("utf-8", "replace").strip().splitlines()
                last = log[-1].removeprefix("error: ") if log else "it said nothing"
                code = process.returncode
                told = f"the process of member {name} stopped with code {code}: {last}"
                raise DataError(told) if code == BAD_DATA else StorageError(told)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._running.values():
            if kind is not None:
                process.terminate()
            try:
                process.wait(timeout=LOCK_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def run_member(
    home: Path, name: str, data: Path, exchange: Path, threads: int, parent: int
) -> None:
    """Step one member until the run is closed or the process `parent` is gone."""
    use_deterministic(threads)
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            with exclusive_lock(home / ".lock", f"another process is member {name} in {home}"):
                member = Member(home, name, data, DirectoryExchange(exchange))
                while member.state.phase != "closed" and os.getppid() == parent:
                    if not member.step():
                        time.sleep(POLL_SECONDS)
                return
        except StorageError as error:
            # After kill -9 of a run, its members end their step before they see that it is gone.
            if "another process" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def main() -> None:
    """Entry point: HOME NAME DATA EXCHANGE THREADS PARENT."""
    home, name, data, exchange, threads, parent = sys.argv[1:]
    try:
        run_member(Path(home), name, Path(data), Path(exchange), int(threads), int(parent))
    except LLMOSError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(BAD_DATA if isinstance(error, DataError) else 1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
