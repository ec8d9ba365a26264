"""`llmos data crawl`: the text of a member's own sites."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from llmos.data.crawl.run import PAGES
from llmos.data.crawl.run import crawl as crawl_sites
from llmos.data.crawl.settings import CrawlSettings, start_urls

_DEFAULT = CrawlSettings(urls=())
_LINE_EVERY = 100
"""Addresses between two lines where there is no terminal."""


def crawl(
    urls: Annotated[
        list[str], typer.Argument(metavar="URL...", help="Where to begin; their sites are read.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder for the text.")],
    pages: Annotated[
        int, typer.Option("--pages", min=1, help="Addresses to ask for at most.")
    ] = _DEFAULT.addresses,
    depth: Annotated[
        int, typer.Option("--depth", min=0, help="Links to follow from the first pages.")
    ] = _DEFAULT.depth,
    delay: Annotated[
        float, typer.Option("--delay", min=0, help="Seconds between two requests, at least.")
    ] = _DEFAULT.delay,
    licence: Annotated[
        str, typer.Option("--licence", help="SPDX licence of pages that link to none.")
    ] = "",
    contact: Annotated[
        str, typer.Option("--contact", help="Your address, told to the sites with each request.")
    ] = "",
) -> None:
    """Fetch the text of your own sites into DIR, a record a page.

    Only pages on the sites of the URLs are fetched, as robots.txt lets LLMOS; what its site or page
    reserves (robots.txt, ai.txt, tdmrep.json, noai, TDM-Reservation) is left. Stopped at any point,
    the same command goes on where it stood. Then: llmos data prepare DIR --out PREPARED
    """
    settings = CrawlSettings(
        urls=start_urls(urls),
        depth=depth,
        addresses=pages,
        delay=delay,
        licence=licence,
        contact=contact,
    )
    console = Console(stderr=True)
    with console.status("asking the site") as status:
        told = 0

        def show(visited: int) -> None:
            nonlocal told
            status.update(f"{visited:,} addresses asked for")
            if not console.is_terminal and visited - told >= _LINE_EVERY:
                told = visited
                typer.echo(f"{visited:,} addresses asked for", err=True)

        found = crawl_sites(settings, out, show)
    typer.echo(f"{found.pages:,} pages in {out / PAGES}")
    for reason, count in found.others.items():
        typer.echo(f"  {count:>8,}  {reason}")
    if found.left:
        typer.echo(
            f"{found.left:,} addresses are left: the same command, with more --pages, goes on"
        )
    typer.echo(f"next: llmos data prepare {shlex.quote(str(out))} --out PREPARED")
