"""Hubs as processes of their own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from huggingface_hub import constants

from llmos.hub.uploads.room import SPARE

DISK = 2 * SPARE  # bytes of a small disk; uploads leave half of it free
Start = Callable[..., "Running"]


class Running:
    """A hub in a process of its own."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        python: Path = Path(sys.executable),
        cwd: Path | None = None,
        **environment: str,
    ) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [python, "-m", "llmos.cli.main", "hub", "start", "--port", "0", *options],
            cwd=cwd,
            env={**os.environ, "LLMOS_HUB_FOLDER": str(folder), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said = ""

    def ready(self) -> str:
        """The address, once it answers; what was said is in `said`."""
        assert self.process.stdout is not None
        while "HF_ENDPOINT" not in self.said:
            line = self.process.stdout.readline()
            assert line, f"the hub did not start: {self.process.communicate()}"
            self.said += line
        address = re.search(r"HF_ENDPOINT=(\S+)", self.said)
        assert address
        while True:
            try:
                httpx.get(f"{address[1]}/health")
                return address[1]
            except httpx.TransportError:
                time.sleep(0.02)

    def end(self, sig: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Its exit code, what it said after `ready`, and its log."""
        if self.process.poll() is None:
            self.process.send_signal(sig)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, self.said + out, err


class Disk:
    """A file system of its own, at `path`: there a disk can really be full."""

    def __init__(self, path: Path) -> None:
        self.path, self._filler = path, path / "filler"
        self._sudo = [] if os.getuid() == 0 else ["sudo", "-n"]
        path.mkdir()
        options = f"size={DISK},uid={os.getuid()}"
        self._run("mount", "-t", "tmpfs", "-o", options, "llmos-test", str(path))

    def _run(self, *command: str) -> None:
        done = subprocess.run([*self._sudo, *command], capture_output=True, text=True)
        if done.returncode:
            pytest.fail(f"this test mounts a file system, as root or by sudo: {done.stderr}")

    def fill(self, leave: int = 0) -> None:
        """Use all the room up but for `leave` bytes."""
        with contextlib.suppress(OSError), self._filler.open("ab", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))
        if leave:
            os.truncate(self._filler, self._filler.stat().st_size - leave)

    def free(self) -> None:
        """Give the room back."""
        self._filler.unlink()

    def unmount(self) -> None:
        """Take it away, whoever still uses it."""
        self._run("umount", "--lazy", str(self.path))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start(options, folder=...)` begins a hub; all are killed in the end."""
    begun: list[Running] = []

    def run(*options: str, folder: Path | None = None, **more: Any) -> Running:
        begun.append(Running(folder or tmp_path / "hub", *options, **more))
        return begun[-1]

    yield run
    for one in begun:
        one.process.kill()
        one.process.communicate()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A small disk; to mount it needs root, or sudo that asks nothing."""
    made = Disk(tmp_path / "disk")
    yield made
    made.unmount()


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client may speak to the hub on this machine."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
