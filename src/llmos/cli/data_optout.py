"""`llmos data optout`: take documents out of a prepared folder whose pages opted out since."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def optout(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A prepared folder.")],
    domains: Annotated[
        list[Path],
        typer.Option(
            "--domains",
            metavar="FILE",
            help="A list of domains or addresses, or a folder with robots.txt, ai.txt and "
            "tdmrep.json of hosts; repeat it.",
        ),
    ],
) -> None:
    """Take the documents out of DIR that these lists name, and bring its card up to date.

    A list has a domain, an address or the beginning of one on each line; HOST/robots.txt,
    HOST/ai.txt and HOST/.well-known/tdmrep.json are what sites say themselves. Killed at any
    point, DIR is as before or as after it.
    """
    from llmos.cli.data import need_data_extra

    need_data_extra()
    from llmos.data.optouts.retract import retract

    found = retract(folder, domains)
    total = sum(found.removed.values())
    typer.echo(f"{total:,} documents taken out, {found.kept:,} left")
    for name, count in found.removed.items():
        typer.echo(f"  {count:>8,}  {name}")
    if found.without_url:
        typer.echo(f"{found.without_url:,} documents have no address: no list can tell of them")
    for what, (before, after) in (("card", found.card), ("content", found.content)):
        change = f"{before} -> {after}" if before != after else f"{before}, unchanged"
        typer.echo(f"sha256 of the {what}: {change}")
    if total:
        typer.echo(
            "models trained on DIR before have learned from these documents; shards of tokens that "
            "were packed from it are to be packed again"
        )
