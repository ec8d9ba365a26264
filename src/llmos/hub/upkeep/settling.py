"""Small files of commits, brought to the disk a moment after the commit.

To wait for a file, its folder and the database costs a commit several times what the database
alone does. So a small file is only written, and its bytes go into the table `arrivals` within the
commit's transaction: that is what makes them durable. Every ten seconds all such files are brought
to the disk at once, and the rows go. Those that a crash has left are written again at the start.
"""

from __future__ import annotations

import hashlib
import logging
import threading

from sqlalchemy import delete, select

from llmos.hub.database.tables import arrivals
from llmos.hub.errors import HubError
from llmos.hub.hub import Hub
from llmos.hub.storage.staging import small_file
from llmos.hub.upkeep.marking import batches

log = logging.getLogger("llmos.hub.upkeep")
EVERY = 10.0  # seconds: often enough for few rows, seldom enough not to hold up commits
SOME = 20  # rows read at once: each has up to 64 KiB


class Settling:
    """A thread that calls `settle`; use it in a `with` block."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="settling")

    def __enter__(self) -> Settling:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stop.wait(EVERY):
            try:
                settle(self._hub)
            except (HubError, OSError) as error:  # the rows stay: nothing is lost
                log.warning("small files wait to be brought to the disk: %s", error)
            except Exception:
                log.exception("bringing small files to the disk failed")


def settle(hub: Hub) -> int:
    """Bring the files of `arrivals` to the disk and remove the rows; returns how many."""
    with hub.database.read() as connection:
        found = connection.scalars(select(arrivals.c.id)).all()
    if found:
        try:
            hub.blobs.sync()  # a file is written before its row: all of these are there
        except (HubError, OSError):
            recover(hub)  # what a disk has refused once, the system does not write again by itself
            raise
        with hub.database.write() as connection:
            for some in batches(found):
                connection.execute(delete(arrivals).where(arrivals.c.id.in_(some)))
    return len(found)


def recover(hub: Hub) -> None:
    """Write the files of `arrivals` again, which a crash may have cut or lost. In vain, or beside a
    running hub, it changes nothing."""
    with hub.database.read() as connection:
        found = connection.scalars(select(arrivals.c.id)).all()
    for some in batches(found, SOME):
        with hub.database.read() as connection:
            rows = connection.execute(select(arrivals).where(arrivals.c.id.in_(some))).all()
        for row in rows:
            if hashlib.sha256(row.content).hexdigest() != row.sha256:
                log.error("the database has damaged bytes of the blob %s", row.sha256)
                continue
            with small_file(hub.settings.temporary, row.content, row.sha256) as file:
                hub.blobs.put_quickly(file, anew=True)
