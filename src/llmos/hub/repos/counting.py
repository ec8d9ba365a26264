"""Downloads, counted in memory and written down every few seconds: a transaction for each file
that is fetched would cost more than sending it."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter

from sqlalchemy import select, update

from llmos.hub.database.connection import Database, now
from llmos.hub.database.tables import repos
from llmos.hub.errors import HubError
from llmos.hub.repos import trending

log = logging.getLogger("llmos.hub")
EVERY = 5.0  # seconds; a hub that is killed forgets at most these


class Downloads:
    """The downloads that are not written down yet."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counted: Counter[int] = Counter()
        self._lock = threading.Lock()
        self._last = time.monotonic()

    def count(self, repo_id: int) -> None:
        """One download of a repository."""
        with self._lock:
            self._counted[repo_id] += 1
            if time.monotonic() - self._last < EVERY:
                return
        self.write()

    def write(self) -> None:
        """Write down what was counted, or keep it for the next time."""
        with self._lock:
            counted, self._counted = self._counted, Counter()
            self._last = time.monotonic()
        if not counted:
            return
        try:
            self._write(counted)
        except HubError as error:  # a full disk must not keep readers out
            log.warning("downloads were not written down: %s", error)
            with self._lock:
                self._counted += counted

    def _write(self, counted: Counter[int]) -> None:
        at = now()
        with self._database.write() as connection:
            for repo_id, number in sorted(counted.items()):
                same = repos.c.id == repo_id
                trend = connection.execute(select(repos.c.trending).where(same)).scalar()
                if trend is None:
                    continue  # deleted meanwhile
                connection.execute(
                    update(repos)
                    .where(same)
                    .values(
                        downloads=repos.c.downloads + number,
                        trending=trending.after(trend, at, trending.DOWNLOAD * number),
                    )
                )
