"""Crawl sites into a folder that `llmos data prepare` reads."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from llmos.data.crawl.log import PAGE, CrawlLog, Visit, frontier
from llmos.data.crawl.settings import CrawlSettings
from llmos.errors import DataError, UsageError
from llmos.storage import atomic_writer, exclusive_lock, storage_errors, write_atomic

WORK = ".crawl"
"""The folder within the folder: readers pass over names that begin with a dot."""
SETTINGS = "settings.json"
LOG = "visits.jsonl"
SCRAPY_LOG = "scrapy.log"
PAGES = "pages.jsonl"
LIBRARIES = ("scrapy", "resiliparse", "py3langid")
_WATCH_SECONDS = 0.5


@dataclass(frozen=True)
class Crawl:
    """What a crawl found: pages written, other addresses by reason, and how many are left."""

    pages: int
    others: Mapping[str, int]
    left: int
    """Addresses found but not asked for, because of the limit, or that failed."""


def crawl(
    settings: CrawlSettings, out: Path, progress: Callable[[int], None] = lambda visited: None
) -> Crawl:
    """Fetch the pages of `settings.urls` into `out`/pages.jsonl, sorted by address.

    A record is {"id", "url", "text", "language", "licence", "sha256"}; `sha256` is that of the page
    as it came; language and licence are there where they are known. A crawl that was stopped goes
    on where it stood when it is called again; with a higher limit it goes further. `progress` is
    told now and then how many addresses are dealt with. Raises `UsageError` where Scrapy is not
    installed or `out` holds another crawl, `DataError` where not one page could be had.
    """
    for library in LIBRARIES:
        if importlib.util.find_spec(library) is None:
            raise UsageError(f"{library} is not installed: run pip install 'llmos[crawl]'")
    work = out / WORK
    with storage_errors(out):
        if out.exists() and not work.exists() and any(out.iterdir()):
            raise UsageError(f"{out} is no folder of a crawl: name a new one")
        work.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(work / "lock", f"another process is crawling into {out}: wait for it"):
        _settle(settings, work / SETTINGS, out)
        log = CrawlLog(work / LOG)
        _fetch(work, log, progress)
        last = log.last()
        found = _write(last, log, out / PAGES)
        others = Counter(v.result for v in last.values() if v.result != PAGE)
        left = len(frontier(last, settings.urls, settings.depth))
    if not found:
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(others.items()))
        raise DataError(
            f"no page of {', '.join(settings.urls)} could be taken ({reasons or 'no answer'}): "
            f"see {work / SCRAPY_LOG}"
        )
    return Crawl(found, dict(sorted(others.items())), left)


def _settle(settings: CrawlSettings, path: Path, out: Path) -> None:
    """Write the settings, unless the folder is of other sites."""
    if path.exists():
        before = CrawlSettings.from_json(path.read_text("utf-8"))
        if before.urls != settings.urls:
            raise UsageError(f"{out} holds a crawl of {', '.join(before.urls)}: name a new folder")
    write_atomic(path, settings.to_json().encode())


def _fetch(work: Path, log: CrawlLog, progress: Callable[[int], None]) -> None:
    """Run the process that fetches, until it ends; it ends with this one, however that ends."""
    command = [sys.executable, "-m", "llmos.data.crawl", str(work)]
    with (work / SCRAPY_LOG).open("ab") as errors:
        # It watches its input: that is closed when this process dies.
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=errors, stderr=errors)
    try:
        visited, offset = 0, 0
        while process.poll() is None:
            visited, offset = _count(log.path, visited, offset)
            progress(visited)
            time.sleep(_WATCH_SECONDS)
        progress(_count(log.path, visited, offset)[0])
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if process.returncode:
        raise DataError(
            f"the crawl ended with status {process.returncode}: see {work / SCRAPY_LOG}; "
            "the same command goes on where it stood"
        )


def _count(path: Path, lines: int, offset: int) -> tuple[int, int]:
    """Lines of a file that grows, and its length, from what they were before."""
    if not path.exists():
        return lines, offset
    with storage_errors(path), path.open("rb") as file:
        file.seek(offset)
        while block := file.read(1 << 20):
            lines += block.count(b"\n")
            offset += len(block)
    return lines, offset


def _write(last: Mapping[str, Visit], log: CrawlLog, path: Path) -> int:
    """Write the records by address, each address once; how many."""
    chosen: dict[str, int] = {}
    for url in sorted(last):
        if last[url].result == PAGE:
            chosen.setdefault(log.page(last[url].offset)["url"], last[url].offset)
    with atomic_writer(path) as file:
        for url in sorted(chosen):
            page = log.page(chosen[url])
            file.write(json.dumps(page, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
    return len(chosen)
