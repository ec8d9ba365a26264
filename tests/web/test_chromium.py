"""The main pages in a real browser: nothing is refused, nothing fails, nothing is wider than a
phone."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

pytestmark = pytest.mark.system
QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--enable-logging=stderr", "--v=0",
]  # fmt: skip
PAGES = {
    "/": "Build language models together",
    "/models": "Models",
    "/acme/small": "acme/small",
    "/acme/small/tree/main": "acme/small · Files",
    "/acme/small/discussions/2": "PR ",
    "/runs/acme/run": "acme/run · Run",
    "/acme": "acme",
    "/leaderboard": "Leaderboard",
    "/login": "Sign in",
}


@pytest.fixture(scope="module")
def address(shown: Any) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = uvicorn.Config(shown.app, port=port, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


def visit(folder: Path, url: str, *options: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "chromium is not installed"
    command = [program, *QUIET, f"--user-data-dir={folder}", *options, "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_shows_and_nothing_is_refused(tmp_path: Path, address: str, path: str) -> None:
    seen = visit(tmp_path, f"{address}{path}", "--accept-lang=en")
    title = re.search(r"<title>(.*?)</title>", seen.stdout)
    assert title and PAGES[path] in title[1]
    complaints = [line for line in seen.stderr.splitlines() if "CONSOLE" in line]
    assert complaints == []


def test_the_style_sheet_counts(tmp_path: Path, address: str) -> None:
    picture = tmp_path / "page.png"
    program = shutil.which("chromium") or "chromium"
    options = [f"--user-data-dir={tmp_path / 'p'}", f"--screenshot={picture}"]
    command = [program, *QUIET, *options, "--window-size=390,844", f"{address}/"]
    subprocess.run(command, capture_output=True, timeout=120, check=True)
    assert picture.stat().st_size > 10_000
