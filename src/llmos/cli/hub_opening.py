"""What the commands about accounts have in common: options, and the hub they work on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmos.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from llmos.hub.hub import Hub

ACTOR = "llmos hub"  # who did it, in the audit log
Folder = Annotated[
    Path | None,
    typer.Option("--folder", help="Where the hub keeps its data (LLMOS_HUB_FOLDER; hub-data)."),
]
Database = Annotated[
    str | None, typer.Option("--database", metavar="URL", help="The hub's database, if not there.")
]
User = Annotated[str, typer.Argument(metavar="USER")]
Org = Annotated[str, typer.Argument(metavar="ORG")]


@contextmanager
def opened_hub(folder: Path | None, database: str | None) -> Iterator[Hub]:
    """The hub of this folder or database, for a block. Raises `UsageError` where there is none."""
    try:
        from llmos.hub.server import opened
        from llmos.hub.settings import from_environment
    except ImportError as error:
        raise UsageError(f"{error.name} is missing: pip install 'llmos[hub]'") from error
    settings = from_environment(folder=folder, database=database)
    if not settings.database and not (settings.folder / "hub.db").exists():
        raise UsageError(f"there is no hub in {settings.folder}: llmos hub start makes one")
    hub = opened(settings)
    try:
        yield hub
    finally:
        hub.close()


def account_named(connection: Connection, name: str, kind: str) -> Any:
    """The row of a user or an organisation (`kind` org). Raises `UsageError`."""
    from llmos.hub.accounts.rights import account_row

    row = account_row(connection, name)
    if row is None or row.kind != kind:
        raise UsageError(f"there is no {'user' if kind == 'user' else 'organisation'} {name}")
    return row


def day(at: int | None) -> str:
    """A time in milliseconds since 1970 as 2026-01-02; "-" for none."""
    return "-" if at is None else f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d}"
