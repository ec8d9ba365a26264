"""What a hub is told when it starts. Flags win over the environment (LLMOS_HUB_...), that over
these defaults."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from llmos.errors import UsageError

MIB = 1 << 20
GIB = 1 << 30
PREFIX = "LLMOS_HUB_"


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

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL of the database."""
        return self.database or f"sqlite:///{self.folder.absolute() / 'hub.db'}"

    @property
    def temporary(self) -> Path:
        """Where uploads wait until they are whole."""
        return self.folder / "tmp"


def from_environment(**given: Any) -> HubSettings:
    """The settings of the environment, with those `given` (flags; None: not given) on top.

    Raises `UsageError` for a variable that is no number where one is needed.
    """
    values: dict[str, Any] = {}
    for item in fields(HubSettings):
        text = os.environ.get(PREFIX + item.name.upper())
        if given.get(item.name) is not None:
            values[item.name] = given[item.name]
        elif text is not None:
            values[item.name] = _read(item.name, str(item.type), text)
    return HubSettings(**values)


def _read(name: str, kind: str, text: str) -> Any:
    if kind == "int":
        try:
            return int(text)
        except ValueError:
            raise UsageError(f"{PREFIX}{name.upper()}={text} is no whole number") from None
    return Path(text) if kind == "Path" else text
