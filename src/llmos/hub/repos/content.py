"""The bytes behind a repository's files: kept, and written down as that repository's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from sqlalchemy import Connection, bindparam, func, select, update

from llmos.hub.database.connection import now
from llmos.hub.database.missing import add_missing
from llmos.hub.database.prepared import Prepared
from llmos.hub.database.tables import arrivals, blobs, repo_blobs
from llmos.hub.errors import bad_request
from llmos.hub.git.entries import Entry
from llmos.hub.git.objects import blob_id, pointer
from llmos.hub.hub import Hub
from llmos.hub.repos.edits import Changes
from llmos.hub.storage.staging import Arrived, small_file
from llmos.hub.uploads import landing, room
from llmos.hub.uploads.existing import held_here

AT_ONCE = 500  # values of one statement
_COMMITTED = (
    update(repo_blobs)
    .where(
        repo_blobs.c.repo_id == bindparam("repo"),
        repo_blobs.c.sha256.in_(bindparam("some", expanding=True)),
        repo_blobs.c.committed.is_(False),
    )
    .values(committed=True)
    .returning(repo_blobs.c.sha256)
)
_ARRIVED = Prepared(arrivals.insert())
WRITERS = 8  # files brought to the disk side by side: each waits for it
TOGETHER = 1 << 20  # bytes of a commit's small files that the database keeps for a while


def plain_text(content: bytes) -> str | None:
    """A file's content as text (UTF-8); None when it is something else."""
    if b"\0" in content:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def entry_of(content: bytes) -> Entry:
    """The entry of a small file with this content."""
    return Entry("file", blob_id(content), len(content), hashlib.sha256(content).hexdigest())


def keep_bytes(hub: Hub, content: bytes) -> Entry:
    """Keep a small file's content, durably, and return its entry. Raises `HubError` 507."""
    room.check_disk(hub, len(content))
    entry = entry_of(content)
    _keep(hub, entry, content)
    return entry


def keep_small(hub: Hub, changes: Changes, contents: Mapping[str, bytes]) -> None:
    """Keep the small files, by their paths, that `changes` adds.

    Few bytes are not waited for: they go into `changes.arrived` too, so that they become durable
    with the commit, in the one wait for the disk that it needs anyway. Raises `HubError` 507.
    """
    new = {changes.added[path].key: (changes.added[path], contents[path]) for path in contents}
    total = sum(entry.size for entry, _ in new.values())
    room.check_disk(hub, total)
    keep = partial(_keep, hub, quickly=total <= TOGETHER)
    if len(new) < 2:
        durable = [keep(*one) for one in new.values()]
    else:
        with ThreadPoolExecutor(min(WRITERS, len(new))) as pool:
            durable = list(pool.map(keep, *zip(*new.values(), strict=True)))
    for (entry, content), done in zip(new.values(), durable, strict=True):
        if not done:
            changes.arrived[entry.key] = content


def _keep(hub: Hub, entry: Entry, content: bytes, *, quickly: bool = False) -> bool:
    """Keep one; whether it is durable."""
    durable = True
    with small_file(hub.settings.temporary, content, entry.key) as file:
        if quickly:
            durable = hub.blobs.put_quickly(file)
        else:
            hub.blobs.put(file)
    landing.record_small(hub, entry.key, entry.size, landing.inspect_bytes(content))
    return durable


def note_arrived(connection: Connection, contents: Mapping[str, bytes]) -> None:
    """Keep the content of small files, by its sha256, in the database until it is on the disk."""
    rows = [{"sha256": key, "content": contents[key]} for key in sorted(contents)]
    if rows:
        _ARRIVED.run_all(connection, rows)


def keep_upload(hub: Hub, repo_id: int, staged: Arrived) -> None:
    """Keep a large file that was sent to a repository, before any commit names it."""
    keep_uploads(hub, repo_id, [staged])


def keep_uploads(
    hub: Hub,
    repo_id: int,
    arrived: Sequence[Arrived],
    note: Callable[[Connection], None] = lambda connection: None,
) -> None:
    """The same for several files: their bytes one by one, their rows in one transaction, in which
    `note` may write down more."""
    found = {}
    for one in arrived:
        with one.path.open("rb") as file:
            found[one.sha256] = landing.inspect(file, one.size)
        hub.blobs.put(one)
    with hub.database.write() as connection:
        note_blobs(connection, repo_id, {one.sha256: one.size for one in arrived}, committed=False)
        for sha256 in sorted(found):
            landing.record(connection, sha256, found[sha256])
        note(connection)


def large_entries(connection: Connection, repo_id: int, wanted: Iterable[str]) -> dict[str, Entry]:
    """The entries of large files, by their sha256, that were sent to this repository (or are in it
    already).

    Raises `HubError` 400 when one was not: a sha256 alone opens nothing.
    """
    names = sorted(set(wanted))
    sizes = held_here(connection, repo_id, names)
    found = {
        sha256: Entry("lfs", blob_id(pointer(sha256, size)), size, sha256)
        for sha256, size in sizes.items()
    }
    for name in names:
        if name not in found:
            raise bad_request(f"LFS object {name[:80]} was not uploaded to this repository")
    return found


def large_entry(connection: Connection, repo_id: int, sha256: str) -> Entry:
    """The same for one file."""
    return large_entries(connection, repo_id, [sha256])[sha256]


def note_blobs(
    connection: Connection, repo_id: int, sizes: Mapping[str, int], *, committed: bool = True
) -> int:
    """Write down that a repository holds (or was sent) these blobs: sha256 to bytes.

    Returns the bytes of those that none of its versions held before.
    """
    at, more = now(), 0
    names = sorted(sizes)
    for start in range(0, len(names), AT_ONCE):
        some = names[start : start + AT_ONCE]
        add_missing(
            connection,
            blobs,
            [{"sha256": one, "size": sizes[one], "created_at": at} for one in some],
        )
        mark = {"repo_id": repo_id, "created_at": at, "committed": False}
        add_missing(connection, repo_blobs, [{"sha256": one, **mark} for one in some])
        if not committed:
            waiting = repo_blobs.c.sha256.in_(some) & repo_blobs.c.committed.is_(False)
            again = update(repo_blobs).where(repo_blobs.c.repo_id == repo_id, waiting)
            connection.execute(again.values(created_at=at))  # sent again: young, for the collection
            continue
        fresh = connection.scalars(_COMMITTED, {"repo": repo_id, "some": some})
        more += sum(sizes[one] for one in fresh)
    return more


def used_bytes(connection: Connection, repo_id: int) -> int:
    """Bytes of all blobs that any version of a repository holds, counted anew."""
    total = (
        select(func.coalesce(func.sum(blobs.c.size), 0))
        .join(repo_blobs, repo_blobs.c.sha256 == blobs.c.sha256)
        .where(repo_blobs.c.repo_id == repo_id, repo_blobs.c.committed)
    )
    return int(connection.execute(total).scalar_one())
