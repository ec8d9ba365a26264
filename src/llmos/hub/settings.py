"""What a hub is told when it starts. Flags win over the environment (LLMOS_HUB_...), that over
these defaults."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from llmos.errors import UsageError

MIB = 1 << 20
GIB = 1 << 30
PREFIX = "LLMOS_HUB_"
DRIVERS = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}
CHOICES = {
    "signup": ("invite", "open"),
    "pickles": ("refuse", "quarantine"),
    "private_webhooks": ("refuse", "allow"),
    "log": ("info", "warning"),
}
LEAST = {"threads": 1, "part_size": 5 * MIB, "link_lifetime": 60, "session_lifetime": 60}


@dataclass(frozen=True, slots=True)
class HubSettings:
    """One hub's settings; sizes in bytes, times in seconds."""

    folder: Path = field(default_factory=lambda: Path("hub-data"))
    database: str = ""  # a SQLAlchemy URL; empty: SQLite at FOLDER/hub.db
    storage: str = ""  # s3://bucket/prefix; empty: FOLDER/blobs
    storage_endpoint: str = ""  # of an S3-compatible service; empty: Amazon's
    public_url: str = ""  # as clients see it, https://hub.example.org; empty: from each request
    name: str = "LLMOS hub"
    signup: str = "invite"  # invite: only with an invitation; open: anybody
    pickles: str = "quarantine"  # refuse | quarantine: what happens to files that can run code
    private_webhooks: str = "refuse"  # refuse | allow: webhooks to addresses of private networks
    lfs_above: int = 10 * MIB  # a larger file always travels as LFS
    multipart_above: int = 64 * MIB
    part_size: int = 32 * MIB
    request_limit: int = 256 * MIB  # of one body that is read whole, such as a commit
    file_limit: int = 50 * GIB
    quota: int = 0  # bytes an account may store; 0: no limit
    requests_per_minute: int = 6000  # of one caller; 0: no limit
    logins_per_minute: int = 10  # wrong passwords from one address; 0: no limit
    link_lifetime: int = 6 * 3600  # of signed upload and download addresses
    session_lifetime: int = 14 * 86400
    grace: int = 2 * 86400  # how old an unreferenced blob must be before it is collected
    threads: int = 40  # requests worked on at once
    host: str = "127.0.0.1"
    port: int = 8080  # 0: any that is free
    proxies: str = "127.0.0.1"  # whose X-Forwarded-For and -Proto are believed; comma between
    admin: str = "root"  # the first admin's name
    stop_within: int = 30  # how long running requests may take to finish when the hub is stopped
    recheck_rate: int = 8 * MIB  # bytes a second that are re-hashed while the hub runs; 0: none
    log: str = "info"  # info: a line per request; warning: only what went wrong

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL of the database."""
        url = self.database or f"sqlite:///{self.folder.absolute() / 'hub.db'}"
        start, colon, rest = url.partition("://")
        return DRIVERS.get(start, start) + colon + rest

    @property
    def temporary(self) -> Path:
        """Where uploads wait until they are whole."""
        return self.folder / "tmp"


def from_environment(**given: Any) -> HubSettings:
    """The settings of the environment, with those `given` (flags; None: not given) on top.

    Raises `UsageError` for a value that cannot be meant.
    """
    values: dict[str, Any] = {}
    for item in fields(HubSettings):
        text = os.environ.get(PREFIX + item.name.upper())
        if given.get(item.name) is not None:
            values[item.name] = given[item.name]
        elif text is not None:
            values[item.name] = _read(item.name, str(item.type), text)
    return checked(HubSettings(**values))


def checked(settings: HubSettings) -> HubSettings:
    """The same settings. Raises `UsageError` for a value that cannot be meant."""
    for item in fields(HubSettings):
        value = getattr(settings, item.name)
        if (known := CHOICES.get(item.name)) and value not in known:
            raise UsageError(f"{item.name} {value!r} is unknown: choose {' or '.join(known)}")
        if isinstance(value, int) and value < (least := LEAST.get(item.name, 0)):
            raise UsageError(f"{item.name} {value} is too small: {least} or more")
    if settings.port > 65535:
        raise UsageError(f"port {settings.port}: choose one from 0 to 65535")
    if settings.storage and not settings.storage.startswith("s3://"):
        raise UsageError(f"storage {settings.storage!r}: write s3://BUCKET/PREFIX, or leave it out")
    if settings.public_url and not settings.public_url.startswith(("http://", "https://")):
        raise UsageError(f"public URL {settings.public_url!r}: begin with https:// or http://")
    if settings.database:
        checked_database(settings.database_url)
    return settings


def checked_database(url: str) -> None:
    """Raise `UsageError` unless `url` names a database that a hub can use."""
    try:
        made = make_url(url)
    except ArgumentError:
        raise UsageError(
            "the database's URL cannot be read: write sqlite:////PATH/hub.db or "
            "postgresql://USER:PASSWORD@HOST/NAME"
        ) from None
    if made.drivername not in ("sqlite", *DRIVERS.values()):
        raise UsageError(f"database {made.drivername}: choose sqlite or postgresql")
    if made.drivername == "sqlite" and made.database in (None, "", ":memory:"):
        raise UsageError("a hub's SQLite needs a file: write sqlite:////PATH/hub.db")


def _read(name: str, kind: str, text: str) -> Any:
    if kind == "int":
        try:
            return int(text)
        except ValueError:
            raise UsageError(f"{PREFIX}{name.upper()}={text} is no whole number") from None
    return Path(text) if kind == "Path" else text
