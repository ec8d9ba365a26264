"""`llmos hub`: run a hub and look after it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from llmos.cli import hub_accounts
from llmos.errors import UsageError

if TYPE_CHECKING:
    from llmos.hub.hub import Hub
    from llmos.hub.settings import HubSettings

app = typer.Typer(
    help="Run a hub: where members share models, data sets, runs and results.",
    no_args_is_help=True,
)

Folder = Annotated[
    Path | None,
    typer.Option("--folder", help="Where the hub keeps its data (LLMOS_HUB_FOLDER; hub-data)."),
]
DatabaseUrl = Annotated[
    str | None, typer.Option("--database", metavar="URL", help="postgresql://... or sqlite:///...")
]
StorageUrl = Annotated[
    str | None, typer.Option("--storage", metavar="URL", help="s3://BUCKET/PREFIX")
]


def settings_of(**given: object) -> HubSettings:
    """The settings of the flags and the environment. Raises `UsageError`."""
    try:
        from llmos.hub.settings import from_environment
    except ImportError as error:
        raise UsageError(f"{error.name} is missing: pip install 'llmos[hub]'") from error
    return from_environment(**given)


def existing_hub(settings: HubSettings) -> Hub:
    """The hub of these settings, which was started before. Raises `UsageError`."""
    from llmos.hub.server import opened

    file = settings.database_url.removeprefix("sqlite:///")
    if file != settings.database_url and not Path(file).exists():
        raise UsageError(f"there is no hub in {settings.folder}: llmos hub start makes one")
    return opened(settings)


@app.command()
def start(
    folder: Folder = None,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option("--port", help="0 takes any.")] = None,
    database: DatabaseUrl = None,
    storage: StorageUrl = None,
    storage_endpoint: Annotated[
        str | None, typer.Option("--storage-endpoint", metavar="URL", help="Of another S3 service.")
    ] = None,
    public_url: Annotated[
        str | None, typer.Option("--public-url", metavar="URL", help="The hub as clients see it.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="The hub's own name.")] = None,
    signup: Annotated[
        str | None, typer.Option("--signup", help="Who may join: invite or open.")
    ] = None,
) -> None:
    """Start a hub, and make it first where there is none.

    Every setting has a variable too, such as LLMOS_HUB_PORT: docs/hub.md lists them.
    """
    settings = settings_of(
        folder=folder,
        host=host,
        port=port,
        database=database,
        storage=storage,
        storage_endpoint=storage_endpoint,
        public_url=public_url,
        name=name,
        signup=signup,
    )
    try:
        from llmos.hub.server import start as serve
        from llmos.web.errors import error_page
        from llmos.web.routes import ROUTES
    except ImportError as error:
        raise UsageError(f"{error.name} is missing: pip install 'llmos[hub]'") from error
    serve(settings, typer.echo, pages=ROUTES, error_page=error_page)


@app.command()
def backup(
    to: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, or an older backup.")],
    folder: Folder = None,
    database: DatabaseUrl = None,
    storage: StorageUrl = None,
    link: Annotated[
        bool, typer.Option("--link", help="Hard links instead of copies, on the same disk.")
    ] = False,
    no_blobs: Annotated[
        bool, typer.Option("--no-blobs", help="The database alone; files stay in their store.")
    ] = False,
) -> None:
    """Copy a hub, running or not, to DIR; only what is new when DIR is an older backup of it.

    Exit code 1: some files are missing or damaged in the hub itself; the rest is copied.
    """
    hub = existing_hub(settings_of(folder=folder, database=database, storage=storage))
    from llmos.hub.upkeep.backup import backup as copy

    with closing(hub), counted_bytes("copying files") as progress:
        made = copy(hub, to, link=link, with_blobs=not no_blobs, progress=progress)
    typer.echo(f"{sum(made.rows.values()):,} rows and {made.blobs:,} files ({size_of(made.bytes)})")
    if made.missing:
        typer.echo(f"{len(made.missing)} files are missing or damaged: run llmos hub fsck")
        raise typer.Exit(1)


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="A backup.")],
    folder: Folder = None,
    database: DatabaseUrl = None,
    storage: StorageUrl = None,
) -> None:
    """Fill a new hub from a backup, checking every file; also from SQLite to PostgreSQL or S3.

    Exit code 1: some files are damaged in the backup; the rest is restored.
    """
    settings = settings_of(folder=folder, database=database, storage=storage)
    from llmos.hub.upkeep.restore import restore as fill

    with counted_bytes("reading files") as progress:
        done = fill(settings, source, progress=progress)
    rows = sum(done.manifest.rows.values())
    typer.echo(f"{rows:,} rows and {done.blobs:,} files restored: llmos hub start")
    for sha256 in done.damaged:
        typer.echo(f"not whole in the backup: {sha256}")
    raise typer.Exit(1 if done.damaged else 0)


@app.command()
def gc(
    folder: Folder = None,
    database: DatabaseUrl = None,
    storage: StorageUrl = None,
    grace: Annotated[
        int | None, typer.Option("--grace", min=0, help="Seconds that all is kept; two days.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count only.")] = False,
) -> None:
    """Remove what no branch, tag or pull request leads to any more; the hub may be running.

    With --grace below an hour the hub must not be running: what is being sent could go too.
    """
    hub = existing_hub(settings_of(folder=folder, database=database, storage=storage))
    from llmos.hub.upkeep.collection import collect

    with closing(hub):
        done = collect(hub, grace=grace, dry=dry_run)
    typer.echo(
        f"{'would remove' if dry_run else 'removed'} {done.commits:,} commits, {done.trees:,} "
        f"folders, {done.blobs:,} files, {done.strays:,} strays ({size_of(done.bytes)}), "
        f"chunks of uploads ({size_of(done.xorb_bytes)})"
    )
    for name in done.skipped:
        typer.echo(f"{name} is damaged and was left alone: run llmos hub fsck")
    raise typer.Exit(1 if done.skipped else 0)


@app.command()
def fsck(
    folder: Folder = None,
    database: DatabaseUrl = None,
    storage: StorageUrl = None,
    quick: Annotated[bool, typer.Option("--quick", help="Compare sizes, not hashes.")] = False,
    repair_from: Annotated[
        Path | None,
        typer.Option("--repair-from", metavar="DIR", help="Take damaged files from a backup."),
    ] = None,
) -> None:
    """Check everything: files, versions, the audit log. Exit code 1: something is damaged.

    Damaged files are set aside, never served, and good again once they are sent again.
    """
    hub = existing_hub(settings_of(folder=folder, database=database, storage=storage))
    from llmos.hub.upkeep.backup_folder import read_manifest
    from llmos.hub.upkeep.checking import check

    if repair_from:
        read_manifest(repair_from)
    with closing(hub), counted_bytes("reading files") as progress:
        report = check(hub, rehash=not quick, repair_from=repair_from, progress=progress)
    for line in report.repaired:
        typer.echo(f"repaired: {line}")
    for line in report.damaged:
        typer.echo(f"damaged: {line}")
    typer.echo(
        f"{report.repositories:,} repositories, {report.blobs:,} files ({size_of(report.bytes)}): "
        + ("all sound" if report.sound else f"{len(report.damaged)} damaged")
    )
    raise typer.Exit(0 if report.sound else 1)


@app.command()
def stats(
    folder: Folder = None,
    database: DatabaseUrl = None,
    storage: StorageUrl = None,
    as_json: Annotated[bool, typer.Option("--json", help="All of it, as JSON.")] = False,
) -> None:
    """Tell how much the hub holds."""
    hub = existing_hub(settings_of(folder=folder, database=database, storage=storage))
    from llmos.hub.upkeep.statistics import statistics

    with closing(hub):
        found = statistics(hub)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=1))
        return
    typer.echo(_sentence("accounts", found.accounts))
    typer.echo(_sentence("repositories", found.repositories) + f"; {found.private:,} private")
    typer.echo(f"{found.commits:,} commits, {found.discussions:,} discussions")
    typer.echo(_sentence("files", found.blobs) + f": {size_of(found.blob_bytes)}")
    saved = found.file_bytes - found.blob_bytes
    typer.echo(f"{size_of(max(saved, 0))} saved, as repositories share files")
    typer.echo(f"{found.never_checked:,} files never re-hashed; llmos hub fsck does")
    typer.echo(f"database {size_of(found.database_bytes)}, tables {found.revision}")
    typer.echo(f"audit log {found.audit_entries:,} entries, head {found.audit_head}")


def _sentence(what: str, counts: dict[str, int]) -> str:
    parts = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
    return f"{what}: {parts or 'none'}"


def size_of(count: int) -> str:
    """Bytes as people read them."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


@contextmanager
def counted_bytes(what: str) -> Iterator[Callable[[int], None]]:
    """A live line of bytes on a terminal, nothing otherwise."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda size: bar.advance(task, size)


hub_accounts.mount(app)
