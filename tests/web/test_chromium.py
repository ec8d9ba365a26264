"""The main pages in a real browser: nothing is refused, nothing fails, nothing is wider than a
phone."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmos.hub.repos.making import repo_by_name

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
    "/collections": "Collections",
}


@pytest.fixture(scope="module")
def address(shown: Any, over_http: Any) -> Iterator[str]:
    with over_http(shown.app) as address:
        yield address


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


@pytest.mark.parametrize("below", ["resolve", "raw"])
def test_scripts_of_a_drawing_do_not_run(
    tmp_path: Path, site: Any, over_http: Any, below: str
) -> None:
    drawing = b"""<svg xmlns="http://www.w3.org/2000/svg" width="300" height="300"
        onload="this.append('it ' + 'ran')"><rect width="300" height="300" fill="#ff00ff"/>
        <script>document.documentElement.append("it " + "ran")</script></svg>"""
    with site.hub.database.read() as connection:
        repo = repo_by_name(connection, "model", "acme/small")
    site.commit("alice", repo, {"drawing.svg": drawing})
    with over_http(site.app) as address:
        seen = visit(tmp_path, f"{address}/acme/small/{below}/main/drawing.svg")
    assert "#ff00ff" in seen.stdout and "it ran" not in seen.stdout
