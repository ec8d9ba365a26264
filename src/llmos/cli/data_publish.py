"""`llmos data publish`: share a prepared folder, its card, or that it exists."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def publish(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A prepared folder.")],
    to: Annotated[Path, typer.Option("--to", metavar="OUT", help="The new folder.")],
    level: Annotated[
        str,
        typer.Option(
            help="open: all text; federated: only the card; metadata: only that it exists."
        ),
    ],
    contact: Annotated[str, typer.Option("--contact", help="Whom to ask about the data.")] = "",
    protected: Annotated[
        Path | None,
        typer.Option("--protected", metavar="FILE", help="Search for these patterns once more."),
    ] = None,
    domains: Annotated[
        list[Path] | None,
        typer.Option("--domains", metavar="FILE", help="Look for who opted out; repeat it."),
    ] = None,
    yes_i_may: Annotated[
        bool,
        typer.Option("--yes-i-may", help="Publish text whose licence is unknown or forbids it."),
    ] = False,
    hub: Annotated[
        str | None,
        typer.Option(
            "--hub", metavar="HUB/OWNER/NAME", help="Register it there too, at the same level."
        ),
    ] = None,
) -> None:
    """Write what is shared of DIR to OUT, in the layout of the Hugging Face hub.

    A data set with the level open is opened by datasets.load_dataset("OUT"). Nothing is sent
    anywhere without --hub; with it, what is in OUT is, and no more.
    """
    from llmos.cli.data import need_data_extra

    need_data_extra()
    address = None
    if hub is not None:
        from llmos.federation.hub_address import HubAddress, token_for

        address = HubAddress.parse(hub)
        token_for(address)
    from llmos.data.publish import Publication
    from llmos.data.publish import publish as write

    how = Publication(
        level=level,
        contact=contact,
        protected=protected,
        optouts=tuple(domains or ()),
        may_redistribute=yes_i_may,
    )
    for path in write(folder, to, how):
        typer.echo(f"{path}  {path.stat().st_size:,} bytes")
    if address is not None:
        from llmos.federation.publish import publish_dataset

        commit = publish_dataset(to, address, level)
        typer.echo(f"registered: {address.endpoint}/datasets/{address.name} (commit {commit[:12]})")
