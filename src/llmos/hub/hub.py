"""One hub: its settings, database, blobs and the key it signs addresses with."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

from sqlalchemy import select

from llmos.hub.accounts.limits import Limits
from llmos.hub.database.connection import Database
from llmos.hub.database.memory import Memory
from llmos.hub.database.tables import meta
from llmos.hub.errors import HubError
from llmos.hub.repos.counting import Downloads
from llmos.hub.repos.tags import FrequentTags
from llmos.hub.runs.board import Boards
from llmos.hub.settings import HubSettings
from llmos.hub.storage.staging import Staged
from llmos.hub.storage.store import open_store


class Hub:
    """What every part of the hub works with. One per process."""

    def __init__(self, settings: HubSettings) -> None:
        """Connect; the tables must be there (`llmos.hub.database.migrate`)."""
        self.settings = settings
        self.database = Database(settings.database_url, threads=settings.threads)
        self.memory = Memory(self.database)
        self.blobs = open_store(settings)
        self.downloads = Downloads(self.database)
        self.tags = FrequentTags(self.database)
        self.boards = Boards()
        self.limits = Limits(settings.requests_per_minute, settings.logins_per_minute)
        self._secret = self.noted("secret", lambda: secrets.token_hex(32)).encode()

    def noted(self, key: str, make: Callable[[], object] | None = None) -> str:
        """A value that the hub keeps for itself; made once with `make` when it is not there."""
        with self.database.read() as connection:
            value = connection.execute(select(meta.c.value).where(meta.c.key == key)).scalar()
        if value is None and make is not None:
            with self.database.write() as connection:
                there = select(meta.c.value).where(meta.c.key == key)
                value = connection.execute(there).scalar()
                if value is None:
                    value = str(make())
                    connection.execute(meta.insert(), {"key": key, "value": value})
        return str(value or "")

    @property
    def epoch(self) -> int:
        """How often chunks were removed from this hub: clients must forget those of before."""
        return int(self.noted("epoch", lambda: 1))

    def next_epoch(self) -> None:
        """Begin another epoch, before chunks are removed."""
        after = str(self.epoch + 1)
        with self.database.write() as connection:
            connection.execute(meta.update().where(meta.c.key == "epoch").values(value=after))

    def staged(self) -> Staged:
        """A new upload; use it in a `with` block."""
        return Staged(self.settings.temporary)

    def sign(self, kind: str, *about: object, seconds: int | None = None) -> str:
        """A signature over what an address is for; it expires."""
        lifetime = self.settings.link_lifetime if seconds is None else seconds
        expires = str(int(time.time()) + lifetime)
        return f"{expires}-{self._mac(kind, expires, about)}"

    def check_signature(self, signature: str | None, kind: str, *about: object) -> None:
        """Raise `HubError` 403 unless `sign` made this signature for the same, and lately."""
        expires, _, mac = (signature or "").partition("-")
        fresh = expires.isdecimal() and len(expires) < 13 and int(expires) >= time.time()
        if not fresh or not hmac.compare_digest(mac, self._mac(kind, expires, about)):
            raise HubError(403, "This address has expired or was changed: ask for a new one")

    def _mac(self, kind: str, expires: str, about: tuple[object, ...]) -> str:
        text = "\0".join([kind, expires, *map(str, about)])
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()

    def close(self) -> None:
        """Write down what is only in memory, and give the connections back."""
        self.downloads.write()
        self.memory.close()
        self.database.close()
