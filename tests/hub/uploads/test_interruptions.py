"""Clients that die in the middle, and how much memory an upload takes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from llmos.hub.uploads.multipart import forget_old_parts

CLIENT = """
import sys
from huggingface_hub import HfApi
api = HfApi(endpoint=sys.argv[1], token=sys.argv[2])
api.upload_file(path_or_fileobj=sys.argv[3], path_in_repo="a.bin", repo_id="acme/m")
"""
SIZE = 24 << 20


class _Slow:
    """A line to the hub that carries `limit` bytes and then stands still."""

    def __init__(self, live: str, limit: int) -> None:
        self.to = int(live.rpartition(":")[2])
        self.left = limit
        self.stalled = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.to))
            threading.Thread(target=self._up, args=(near, far), daemon=True).start()
            threading.Thread(target=self._down, args=(far, near), daemon=True).start()

    def _up(self, near: socket.socket, far: socket.socket) -> None:
        while data := _received(near):
            self.left -= len(data)
            if self.left < 0:
                self.stalled.set()
                while _received(near):  # swallowed
                    continue
                break
            far.sendall(data)
        far.shutdown(socket.SHUT_RDWR)  # close would wait for the thread that reads

    def _down(self, far: socket.socket, near: socket.socket) -> None:
        while data := _received(far):
            near.sendall(data)

    def close(self) -> None:
        self._listener.close()


def _received(end: socket.socket) -> bytes:
    try:
        return end.recv(65536)
    except OSError:
        return b""


@pytest.mark.slow
@pytest.mark.parametrize("xet", ["0", "1"])
def test_a_client_killed_in_the_middle_leaves_nothing_to_see(
    world: Any, live: str, tmp_path: Path, xet: str
) -> None:
    body = {"name": "m", "organization": "acme"}
    assert world.ask("POST", "/api/repos/create", "alice", json=body).status_code == 200
    before = world.ask("GET", "/api/models/acme/m", "alice").json()["sha"]
    source = tmp_path / "a.bin"
    source.write_bytes(os.urandom(SIZE))
    line = _Slow(live, SIZE // 2)
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": xet,
        "HF_HOME": str(tmp_path / "home"),
    }
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, line.address, world.tokens["alice"], str(source)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert line.stalled.wait(60)
    finally:
        client.send_signal(signal.SIGKILL)
        client.wait()
        line.close()
    for _ in range(200):  # until the hub has noticed
        if not list(world.hub.settings.temporary.glob("up-*")):
            break
        time.sleep(0.05)
    assert not list(world.hub.settings.temporary.glob("up-*"))
    forget_old_parts(world.hub, time.time_ns() // 1_000_000 + 1000)
    info = world.ask("GET", "/api/models/acme/m", "alice").json()
    assert info["sha"] == before
    assert [one["rfilename"] for one in info["siblings"]] == [".gitattributes"]
    assert sum(one.size for one in world.hub.blobs.list()) < 10_000
    again = [sys.executable, "-c", CLIENT, live, world.tokens["alice"], str(source)]
    subprocess.run(again, env=environment, check=True, capture_output=True)
    fetched = world.ask("GET", "/acme/m/resolve/main/a.bin", "alice")
    assert fetched.content == source.read_bytes()


SERVER = """
import sys
from pathlib import Path
import uvicorn
from llmos.hub.api.app import HubApp
from llmos.hub.api.surface import ROUTES
from llmos.hub.hub import Hub
from llmos.hub.settings import HubSettings
hub = Hub(HubSettings(folder=Path(sys.argv[1])))
uvicorn.run(HubApp(hub, ROUTES), port=int(sys.argv[2]), log_level="warning", lifespan="off")
"""


def _peak(process: int) -> int:
    """Most MiB that a process ever held."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    raise AssertionError("no VmHWM")


@pytest.mark.slow
@pytest.mark.parametrize("xet", ["0", "1"])
def test_memory_does_not_grow_with_the_file(world: Any, tmp_path: Path, xet: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = world.hub.settings.folder
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(folder), str(port)])
    live = f"http://127.0.0.1:{port}"
    body = {"name": "m", "organization": "acme"}
    assert world.ask("POST", "/api/repos/create", "alice", json=body).status_code == 200
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": xet,
        "HF_HOME": str(tmp_path / "home"),
    }
    peaks = []
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        for size in (30, 300):
            source = tmp_path / "a.bin"
            with source.open("wb") as file:
                for _ in range(size):
                    file.write(os.urandom(1 << 20))
            command = [sys.executable, "-c", CLIENT, live, world.tokens["alice"], str(source)]
            subprocess.run(command, env=environment, check=True, capture_output=True)
            peaks.append(_peak(server.pid))
    finally:
        server.terminate()
        server.wait()
    assert peaks[1] - peaks[0] < 60, peaks
