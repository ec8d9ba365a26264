"""Crawls of a site in this process: what is taken, what is left, and going on after a kill."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import typer
from typer.testing import CliRunner

from llmos.cli.data_crawl import crawl as crawl_command
from llmos.data.crawl.log import CrawlLog, Visit, frontier
from llmos.data.crawl.manners import Manners, site_of
from llmos.data.crawl.run import LOG, PAGES, WORK, Crawl, crawl
from llmos.data.crawl.settings import CrawlSettings, start_urls
from llmos.data.sources import read_source
from llmos.errors import DataError, UsageError
from llmos.recipe import DataSection

ENGLISH = "All human beings are born free and equal in dignity and rights. " * 4
JAPANESE = "すべての人間は、生まれながらにして自由であり、尊厳と権利とについて平等である。" * 4
CC = "https://creativecommons.org/licenses/by-sa/4.0/"
Answer = tuple[int, dict[str, str], bytes]


def page(name: str, *links: str, head: str = "") -> Answer:
    anchors = "".join(f'<a href="{link}">more</a> ' for link in links)
    body = f"<p>{name}. {ENGLISH}</p>{anchors}"
    html = f"<html><head>{head}</head><body><main>{body}</main></body></html>"
    return 200, {"Content-Type": "text/html; charset=utf-8"}, html.encode()


def shift_jis() -> Answer:
    html = f"<html><head><meta charset=Shift_JIS></head><body><p>{JAPANESE}</p></body></html>"
    return 200, {"Content-Type": "text/html"}, html.encode("shift_jis")


def with_header(answer: Answer, name: str, value: str) -> Answer:
    return answer[0], {**answer[1], name: value}, answer[2]


def plain(content: str) -> Answer:
    return 200, {"Content-Type": "text/plain"}, content.encode()


SITE: dict[str, Answer] = {
    "/robots.txt": plain("User-agent: *\nDisallow: /private\nCrawl-delay: 0.01\n"),
    "/ai.txt": plain("User-Agent: *\nDisallow: /drawings/\n"),
    "/.well-known/tdmrep.json": plain('[{"location": "/news/*", "tdm-reservation": 1}]'),
    "/": page(
        "Home", "/a", "/a#part", "/private/x", "/drawings/x", "/news/x", "/noai", "/tag", "/tdm",
        "/away", "/stay", "/file", "/huge", "/sjis", "/gone", "/empty", "/secret-links",
        "http://elsewhere.example/", "mailto:me@example.org",
    ),
    "/a": page("A", "/b", CC.replace("https:", "")),
    "/b": page("B", "/c", head=f'<link rel="license" href="{CC}">'),
    "/c": page("C", "/"),
    "/noai": page("No", "/only-from-noai", head='<meta name="robots" content="noai">'),
    "/only-from-noai": page("Found on a page that opted out"),
    "/tag": with_header(page("Tag"), "X-Robots-Tag", "noai, noimageai"),
    "/tdm": with_header(page("TDM"), "TDM-Reservation", "1"),
    "/away": (302, {"Location": "http://127.0.0.1:1/"}, b""),
    "/stay": (301, {"Location": "/c"}, b""),
    "/file": (200, {"Content-Type": "application/pdf"}, b"%PDF" + b"\0" * 4_000_000),
    "/huge": page("Huge " + "word " * 60_000),
    "/sjis": shift_jis(),
    "/empty": (200, {"Content-Type": "text/html"}, b"<html><body></body></html>"),
    "/secret-links": page("No follow", "/hidden", head='<meta name="robots" content="nofollow">'),
    "/hidden": page("Hidden"),
}  # fmt: skip


class Site:
    """A site on this machine that keeps what it was asked for."""

    def __init__(self, answers: dict[str, Answer], seconds: float = 0.0) -> None:
        self.asked: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path)
                time.sleep(seconds)
                status, headers, body = answers.get(self.path, (404, {}, b"not here"))
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(OSError):  # whoever asks has heard enough
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site(SITE)
    yield made
    made.close()


def settings_for(site: Site, **more: Any) -> CrawlSettings:
    values: dict[str, Any] = {"delay": 0.0, "page_bytes": 200_000, **more}
    return CrawlSettings(urls=start_urls([site.url]), **values)


def records(out: Path, site: Site) -> dict[str, dict[str, str]]:
    lines = (out / PAGES).read_text("utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    assert [record["url"] for record in found] == sorted({record["url"] for record in found})
    return {record["url"].removeprefix(site.url.rstrip("/")): record for record in found}


def test_takes_what_is_allowed_and_leaves_the_rest(site: Site, tmp_path: Path) -> None:
    found = crawl(settings_for(site, licence="CC0-1.0"), tmp_path)

    pages = records(tmp_path, site)
    assert set(pages) == {"/", "/a", "/b", "/c", "/only-from-noai", "/secret-links", "/sjis"}
    assert found == Crawl(
        pages=7,
        others={
            "ai_txt": 1, "no_text": 1, "not_html": 1, "off_site": 1, "opted_out_noai": 2,
            "opted_out_tdm_reservation": 1, "robots_txt": 1, "status_404": 1, "tdm_reservation": 1,
            "too_large": 1,
        },
        left=0,
    )  # fmt: skip
    # "not_html" though it is too large: its header was enough.
    for path in ("/private/x", "/drawings/x", "/news/x", "/hidden"):
        assert path not in site.asked
    assert site.asked[:3] == ["/robots.txt", "/ai.txt", "/.well-known/tdmrep.json"]
    assert site.asked.count("/a") == 1

    assert pages["/sjis"]["text"].strip() == JAPANESE
    assert {path: p["language"] for path, p in pages.items() if path in ("/a", "/sjis")} == {
        "/a": "en",
        "/sjis": "ja",
    }
    assert (pages["/b"]["licence"], pages["/c"]["licence"]) == ("CC-BY-SA-4.0", "CC0-1.0")
    assert pages["/c"]["sha256"] == hashlib.sha256(SITE["/c"][2]).hexdigest()
    assert pages["/c"]["id"] == pages["/c"]["url"]

    source = read_source(tmp_path, DataSection(), "text")
    assert sorted(d.url for d in source.documents) == sorted(p["url"] for p in pages.values())
    assert source.skipped == []


@pytest.mark.slow
def test_killed_it_goes_on_where_it_stood(tmp_path: Path) -> None:
    site = Site(SITE, seconds=0.05)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    crawl(settings_for(site), whole)
    site.asked.clear()
    program = (
        "import sys; from pathlib import Path\n"
        "from llmos.data.crawl.run import crawl\n"
        "from llmos.data.crawl.settings import CrawlSettings\n"
        "crawl(CrawlSettings.from_json(sys.argv[1]), Path(sys.argv[2]))"
    )
    arguments = [sys.executable, "-c", program, settings_for(site).to_json(), str(broken)]
    process = subprocess.Popen(arguments, env={**os.environ, "PYTHONPATH": "src"})
    while "/noai" not in site.asked:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    log = broken / WORK / LOG
    while True:  # its own process ends with it
        asked = len(site.asked)
        time.sleep(1)
        if len(site.asked) == asked:
            break
    done = [visit.url for visit in CrawlLog(log)]
    assert 0 < len(done) < len(list(CrawlLog(whole / WORK / LOG)))
    with log.open("ab") as file:
        file.write(b'{"url": "http://a line that was')
    site.asked.clear()

    crawl(settings_for(site), broken)

    assert (broken / PAGES).read_bytes() == (whole / PAGES).read_bytes()
    assert not {site.url.rstrip("/") + path for path in site.asked} & set(done)
    site.close()


@pytest.mark.slow
def test_a_limit_can_be_raised_and_depth_counts(site: Site, tmp_path: Path) -> None:
    crawl(settings_for(site), tmp_path / "whole")
    first = crawl(settings_for(site, addresses=3), tmp_path / "parts")
    assert first.pages + sum(first.others.values()) == 3
    assert first.left > 5
    crawl(settings_for(site), tmp_path / "parts")
    pages = tmp_path / "parts" / PAGES
    assert pages.read_bytes() == (tmp_path / "whole" / PAGES).read_bytes()

    near = crawl(settings_for(site, depth=1), tmp_path / "near")
    assert "/b" not in records(tmp_path / "near", site)
    assert near.left == 0


@pytest.mark.slow
def test_a_site_that_cannot_be_asked_is_left_alone(tmp_path: Path) -> None:
    site = Site({**SITE, "/robots.txt": (503, {}, b"")})
    with pytest.raises(DataError, match=r"no page of http.*robots_unreachable 1.*scrapy\.log"):
        crawl(settings_for(site), tmp_path / "a")
    assert set(site.asked) == {"/robots.txt"}
    site.close()


@pytest.mark.slow
def test_a_site_can_let_this_crawler_in_and_others_out(tmp_path: Path) -> None:
    for robots, taken in (
        ("User-agent: GPTBot\nDisallow: /\n", False),
        ("User-agent: *\nDisallow: /\n\nUser-agent: LLMOS\nDisallow: /private\n", True),
    ):
        site = Site({**SITE, "/robots.txt": plain(robots)})
        if taken:
            assert crawl(settings_for(site, depth=0), tmp_path / "named").pages == 1
        else:
            with pytest.raises(DataError, match="robots_txt 1"):
                crawl(settings_for(site, depth=0), tmp_path / "trained")
        site.close()


def test_what_is_still_to_be_asked_for() -> None:
    last = {
        "/": Visit("/", 0, "page", ("/a", "/b", "/c")),
        "/a": Visit("/a", 1, "failed", offset=1),
        "/b": Visit("/b", 1, "page", ("/d", "/c"), offset=2),
        "/d": Visit("/d", 2, "no_text", ("/e",), offset=3),
    }
    assert frontier(last, ["/", "/z"], 9) == [("/z", 0), ("/a", 1), ("/c", 1), ("/e", 3)]
    assert frontier(last, ["/"], 1) == [("/a", 1), ("/c", 1)]
    assert frontier({}, ["/"], 0) == [("/", 0)]


def test_a_crawl_delay_slows_down() -> None:
    throttle = SimpleNamespace(mindelay=1.0)
    manners = Manners(cast(Any, SimpleNamespace(get_extension=lambda kind: throttle)))
    manners._robots("User-agent: *\nDisallow:\nCrawl-delay: 0.5\n")
    assert throttle.mindelay == 1.0
    manners._robots("User-agent: *\nDisallow:\nCrawl-delay: 7\n")
    assert throttle.mindelay == 7.0


@pytest.mark.parametrize("rest", [b"", b'{"url": "x', b"x" * 200_000])
def test_a_line_left_unfinished_is_cut_off(tmp_path: Path, rest: bytes) -> None:
    log = CrawlLog(tmp_path / "log")
    log.open()
    log.append(Visit("/a", 0, "page", ("/b",), {"text": "é\ud800"}))
    with log.path.open("ab") as file:
        file.write(rest)
    again = CrawlLog(log.path)
    assert [visit.url for visit in again] == ["/a"]
    again.open()
    again.append(Visit("/b", 1, "no_text"))
    assert [(v.url, v.result) for v in again] == [("/a", "page"), ("/b", "no_text")]
    assert again.page(0) == {"text": "é\ud800"}
    assert again.last()["/a"].links == ("/b",)


def test_addresses() -> None:
    assert start_urls(["example.org", "http://a.example/x#y", "https://example.org/"]) == (
        "https://example.org/",
        "http://a.example/x",
    )
    for wrong in ("ftp://example.org", "https://", "https://a b/", "https://a:x/"):
        with pytest.raises(UsageError, match=r"is no address of a site: write https://example"):
            start_urls([wrong])
    same = ["http://example.org/a", "https://www.example.org:443/b", "https://EXAMPLE.org"]
    assert len(set(map(site_of, same))) == 1
    others = ["https://example.org:8080/", "https://blog.example.org/", "mailto:me@example.org"]
    assert site_of(same[0]) not in set(map(site_of, others))


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("mine")
    with pytest.raises(UsageError, match="is no folder of a crawl: name a new one"):
        crawl(CrawlSettings(urls=("https://example.org/",)), tmp_path)
    work = tmp_path / "b" / WORK
    work.mkdir(parents=True)
    (work / "settings.json").write_text(CrawlSettings(urls=("https://a.example/",)).to_json())
    with pytest.raises(UsageError, match=r"holds a crawl of https://a\.example/: name a new"):
        crawl(CrawlSettings(urls=("https://example.org/",)), tmp_path / "b")


def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    app = typer.Typer()
    app.command()(crawl_command)
    arguments = ["https://example.org", "--out", str(tmp_path / "out")]
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, UsageError)
    assert str(error) == "scrapy is not installed: run pip install 'llmos[crawl]'"
    assert not (tmp_path / "out").exists()


def test_the_command_tells_what_came_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[CrawlSettings] = []

    def fake(settings: CrawlSettings, out: Path, progress: Any) -> Crawl:
        given.append(settings)
        for visited in (50, 150, 199):
            progress(visited)
        return Crawl(pages=1234, others={"robots_txt": 2}, left=5)

    monkeypatch.setattr("llmos.cli.data_crawl.crawl_sites", fake)
    app = typer.Typer()
    app.command()(crawl_command)
    options = ["--pages", "7", "--depth", "2", "--delay", "3", "--contact", "me@example.org"]
    result = CliRunner().invoke(app, ["example.org", "--out", str(tmp_path), *options])
    assert result.exit_code == 0, result.output
    for words in ("150 addresses", "1,234 pages in", "2  robots_txt", "5 addresses are left"):
        assert words in result.output
    assert given[0].user_agent.endswith("(+me@example.org)")
    assert (given[0].addresses, given[0].depth, given[0].delay) == (7, 2, 3.0)
