"""`python -m llmos.data.crawl FOLDER`: the process that `llmos.data.crawl.run` starts."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from threading import Thread

from scrapy.crawler import CrawlerProcess

from llmos.data.crawl.log import CrawlLog
from llmos.data.crawl.run import LOG, SCRAPY_LOG, SETTINGS
from llmos.data.crawl.settings import CrawlSettings
from llmos.data.crawl.spider import SiteSpider, scrapy_settings


def main(folder: Path) -> None:
    """Crawl as the settings in `folder` say."""
    settings = CrawlSettings.from_json((folder / SETTINGS).read_text("utf-8"))
    log = CrawlLog(folder / LOG)
    log.open()
    Thread(target=_end_with_parent, daemon=True).start()
    process = CrawlerProcess(scrapy_settings(settings, str(folder / SCRAPY_LOG)))
    process.crawl(SiteSpider, settings, log)
    process.start()


def _end_with_parent() -> None:
    """Nothing is lost: every line of the log is on the disk when it is written."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
