"""Tags that are used."""

from __future__ import annotations

import threading
import time

from sqlalchemy import func, select

from llmos.hub.accounts.rights import NOBODY, visible
from llmos.hub.database.connection import Database
from llmos.hub.database.tables import repo_tags, repos
from llmos.hub.repos import facts

TASKS = frozenset({task for task, _ in facts.TASKS.values()} | {facts.SEQ2SEQ[0]}) | {
    *("automatic-speech-recognition", "image-classification", "image-text-to-text"),
    *("object-detection", "sentence-similarity", "summarization", "table-question-answering"),
    *("text-ranking", "text-to-image", "text-to-speech", "translation", "zero-shot-classification"),
}
MOST = 2000
FRESH = 300.0  # seconds


class FrequentTags:
    """The tags that most repositories have, of those that everybody may see; counting them takes
    long, so it is done every five minutes at most."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._held: dict[str, tuple[float, list[str]]] = {}

    def of(self, kind: str) -> list[str]:
        """Those of repositories of a kind, the most frequent first."""
        with self._lock:
            at, tags = self._held.get(kind, (-FRESH, []))
            if time.monotonic() - at > FRESH or not tags:
                tags = self._count(kind)
                self._held[kind] = (time.monotonic(), tags)
            return tags

    def _count(self, kind: str) -> list[str]:
        query = (
            select(repo_tags.c.tag)
            .join(repos, repos.c.id == repo_tags.c.repo_id)
            .where(repos.c.kind == kind, visible(NOBODY, repos))
            .group_by(repo_tags.c.tag)
            .order_by(func.count().desc(), repo_tags.c.tag)
            .limit(MOST)
        )
        with self._database.read() as connection:
            return list(connection.scalars(query))
