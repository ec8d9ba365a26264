"""`llmos hub start`: one process that serves a hub until it is told to stop."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

import uvicorn
from anyio.to_thread import current_default_thread_limiter
from sqlalchemy import select
from starlette.types import ASGIApp

from llmos import __version__
from llmos.hub.accounts import people
from llmos.hub.api.app import ErrorPage, HubApp
from llmos.hub.api.connections import Connection
from llmos.hub.api.observing import Observed
from llmos.hub.api.routing import Route
from llmos.hub.api.surface import ROUTES
from llmos.hub.database.connection import reachable
from llmos.hub.database.migrate import upgrade
from llmos.hub.database.tables import accounts
from llmos.hub.hub import Hub
from llmos.hub.logs import log_to_stderr
from llmos.hub.settings import HubSettings
from llmos.hub.together.deliveries import start_deliveries
from llmos.hub.upkeep.rechecking import Rechecking
from llmos.hub.upkeep.settling import Settling, recover
from llmos.listening import address_of, bound
from llmos.storage import exclusive_lock, storage_errors

log = logging.getLogger("llmos.hub")
BACKLOG = 2048
KEEP_ALIVE = 75  # seconds that a connection may be idle
STARTED = """\
LLMOS hub {version} at {address}  (data in {folder})
{first}
Clients of the Hugging Face protocol use it with:
  export HF_ENDPOINT={address}
"""
FIRST = """\
The first admin is {name}. This token is shown this once; keep it:
  export HF_TOKEN={token}
To sign in with a browser, set a password: llmos hub user password {name} {where}
"""


def make_app(
    hub: Hub, pages: Sequence[Route] = (), error_page: ErrorPage | None = None
) -> Observed:
    """The hub's ASGI application, counted and logged; `pages` are routes beside the API's. They
    come first: /NAME is an account's page before it is a model's short name."""
    return Observed(HubApp(hub, [*pages, *ROUTES], error_page))


def start(
    settings: HubSettings,
    say: Callable[[str], None] = print,
    *,
    pages: Sequence[Route] = (),
    error_page: ErrorPage | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then finish what runs; a second signal stops at once.

    `say` is given what a person should read, `pages` and `error_page` are those of the web. Raises
    `UsageError` or `StorageError` when the port is taken, the folder cannot be used or is another
    hub's, or the database cannot be reached or is of a newer LLMOS.
    """
    with ExitStack() as stack:
        stack.enter_context(_folder_of_one(settings))
        listener = stack.enter_context(bound(settings.host, settings.port, BACKLOG))
        hub = opened(settings)
        stack.callback(hub.close)
        _drop_leftovers(settings.temporary)
        token = first_admin(hub)
        log_to_stderr(settings.log)
        address = settings.public_url.rstrip("/") or address_of(settings.host, listener)
        folder = settings.folder.absolute()
        first = (
            "\n" + FIRST.format(name=settings.admin, token=token, where=_where(settings))
            if token
            else ""
        )
        say(STARTED.format(version=__version__, address=address, folder=folder, first=first))
        stack.enter_context(Settling(hub))
        stack.enter_context(Rechecking(hub))
        app = make_app(hub, pages, error_page)
        stack.callback(start_deliveries(hub, app.meters.delivered).stop)
        _Server(app, settings).run(sockets=[listener])
        log.info("stopped")


def opened(settings: HubSettings) -> Hub:
    """A hub with its tables brought up to date. Raises `UsageError`."""
    with storage_errors(settings.folder):
        settings.folder.mkdir(parents=True, exist_ok=True)
        settings.temporary.mkdir(parents=True, exist_ok=True)
    upgrade(settings.database_url)
    with storage_errors(settings.folder), reachable(settings.database_url):
        hub = Hub(settings)
        recover(hub)
        return hub


def first_admin(hub: Hub) -> str | None:
    """Make the first admin, when there is none, and return the token; None: there is one."""
    with hub.database.write() as connection:
        if connection.execute(select(accounts.c.id).where(accounts.c.admin)).first():
            return None
        row = people.make_account(connection, "llmos hub start", hub.settings.admin, admin=True)
        return people.make_token(connection, "llmos hub start", row, label="first")


def _where(settings: HubSettings) -> str:
    """The option that leads a command to this hub's data; a database's address has a password."""
    if settings.database:
        return "--database URL"
    return f"--folder {shlex.quote(str(settings.folder.absolute()))}"


@contextmanager
def _folder_of_one(settings: HubSettings) -> Iterator[None]:
    """Hold the folder, and an SQLite file elsewhere, for one process."""
    held = "is another running hub's: stop that one, or choose another folder with --folder"
    places = [settings.folder / "hub.lock"]
    if settings.database_url.startswith("sqlite:///"):
        file = Path(settings.database_url.removeprefix("sqlite:///"))
        places.append(file.with_name(f"{file.name}.lock"))
    with ExitStack() as stack:
        for place in places:
            lock = exclusive_lock(place, f"{place.parent} {held}")
            stack.enter_context(lock)
        probe = settings.folder / "tmp" / "probe"
        with storage_errors(settings.folder):
            probe.parent.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"")
            probe.unlink()
        yield


def _drop_leftovers(folder: Path) -> None:
    """Uploads that a crash cut off. Nobody else uses the folder: its lock is held."""
    for path in folder.glob("up-*"):
        path.unlink(missing_ok=True)


class _Server(uvicorn.Server):
    """Uvicorn, told of the hub's settings; a second signal ends the process at once."""

    def __init__(self, app: ASGIApp, settings: HubSettings) -> None:
        self._threads = settings.threads
        config = uvicorn.Config(
            app,
            loop="uvloop",
            http=Connection,
            access_log=False,
            log_config=None,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=settings.stop_within,
            proxy_headers=True,
            forwarded_allow_ips=settings.proxies,
        )
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Let as many requests be worked on at once as the settings say."""
        current_default_thread_limiter().total_tokens = self._threads
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal: finish. The second: end now; a commit is whole or not there."""
        if self.should_exit:
            os._exit(1)
        log.info("stopping", extra={"about": {"signal": signal.Signals(sig).name}})
        self.should_exit = True
