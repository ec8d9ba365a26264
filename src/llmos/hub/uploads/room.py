"""Whether there is room for what is about to be sent: the hub's limit for one file, the account's
quota, the disk."""

from __future__ import annotations

import shutil
from typing import Any

from sqlalchemy import Connection, Row, func, select

from llmos.hub.database.tables import blobs, repo_blobs, repos, xorbs
from llmos.hub.errors import HubError, forbidden
from llmos.hub.hub import Hub
from llmos.hub.repos.limits import check_quota, quota_of

SPARE = 64 << 20  # bytes of the disk that uploads leave free


def check_open(repo: Row[Any]) -> None:
    """Raise `HubError` 403 for a repository whose data stay at home: it takes no large files."""
    if repo.sharing != "open":
        raise forbidden(
            f"{repo.full_name} is shared as {repo.sharing}: its data stay at home, so the hub "
            "takes no large files for it"
        )


def check_file_size(hub: Hub, size: int) -> None:
    """Raise `HubError` 413 for a file that is larger than the hub takes."""
    if size > hub.settings.file_limit:
        raise HubError(
            413,
            f"A file of {size:,} bytes is more than the {hub.settings.file_limit:,} that this hub "
            "takes: split it",
        )


def check_room(hub: Hub, connection: Connection, repo: Row[Any], more: int) -> None:
    """Raise `HubError` 403 when the quota of the repository's owner is too small for `more` bytes
    (what was sent and not committed counts), 507 when the disk is."""
    if repo.owner_id is not None and quota_of(hub, connection, repo.owner_id):
        check_quota(hub, connection, repo.owner_id, more + _pending(connection, repo.owner_id))
    check_disk(hub, more)


def check_disk(hub: Hub, more: int) -> None:
    """Raise `HubError` 507 when the disk has no room for `more` bytes beside the `SPARE` ones: the
    database needs those, even to write down that something is gone."""
    hub.settings.folder.mkdir(parents=True, exist_ok=True)
    if more + SPARE > shutil.disk_usage(hub.settings.folder).free:
        raise HubError(507, f"The hub's disk has no room for {more:,} bytes; nothing was changed")


def check_chunks(hub: Hub, connection: Connection, repo: Row[Any]) -> None:
    """Raise `HubError` 403 when a repository holds twice the quota of its owner in chunks, which
    are not counted otherwise, 507 when the disk is full."""
    check_room(hub, connection, repo, 0)
    quota = 0 if repo.owner_id is None else quota_of(hub, connection, repo.owner_id)
    chunks = select(func.coalesce(func.sum(xorbs.c.size), 0)).where(xorbs.c.repo_id == repo.id)
    if quota and int(connection.execute(chunks).scalar_one()) > 2 * quota:
        raise forbidden("More chunks were sent than the quota has room for: try again in some days")


def _pending(connection: Connection, owner_id: int) -> int:
    total = (
        select(func.coalesce(func.sum(blobs.c.size), 0))
        .join(repo_blobs, repo_blobs.c.sha256 == blobs.c.sha256)
        .join(repos, repos.c.id == repo_blobs.c.repo_id)
        .where(repos.c.owner_id == owner_id, repo_blobs.c.committed.is_(False))
    )
    return int(connection.execute(total).scalar_one())
