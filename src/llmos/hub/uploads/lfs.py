"""Git LFS: what is to be sent, and what is there already
(https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select

from llmos.hub.accounts.rights import Caller
from llmos.hub.database.tables import repos
from llmos.hub.errors import HubError, unprocessable
from llmos.hub.hub import Hub
from llmos.hub.repos.content import note_blobs
from llmos.hub.uploads import room
from llmos.hub.uploads.existing import held_elsewhere, held_here

SHA256 = re.compile(r"[0-9a-f]{64}")
MOST_OBJECTS = 1000  # of one request
SLOWEST = 500_000  # bytes a second; an address lives as long as such a line would need


@dataclass(frozen=True, slots=True)
class Refused:
    """Why one object cannot be sent or fetched."""

    status: int
    message: str


def checked_objects(objects: Iterable[Any]) -> dict[str, int]:
    """sha256 to bytes, in the order given. Raises `HubError` 422."""
    found: dict[str, int] = {}
    for one in objects:
        oid, size = one.oid, one.size
        if not SHA256.fullmatch(oid) or size < 0 or found.get(oid, size) != size:
            raise unprocessable(f"no object can be {oid[:80]!r} of {size} bytes")
        found[oid] = size
    if len(found) > MOST_OBJECTS:
        raise HubError(413, f"Ask for at most {MOST_OBJECTS} objects at once")
    return found


def missing(
    hub: Hub, caller: Caller, repo: Row[Any], wanted: Mapping[str, int]
) -> dict[str, Refused | None]:
    """Those of the objects `wanted` (sha256 to bytes) that must be sent, with why not where they
    cannot be; what the caller need not send is noted as sent.

    Raises `HubError` 403 for a repository whose data stay at home and for a full quota, 507 for a
    full disk.
    """
    room.check_open(repo)
    with hub.database.read() as connection:
        here = held_here(connection, repo.id, wanted)
        rest = {oid: size for oid, size in wanted.items() if oid not in here}
        known = held_elsewhere(connection, caller, rest) if rest else {}
        room.check_room(hub, connection, repo, sum(rest.values()) if rest else 0)
    found: dict[str, Refused | None] = {}
    there = here | known
    for oid, size in wanted.items():
        if oid in there and there[oid] != size:
            found[oid] = Refused(422, f"the object has {there[oid]:,} bytes, not {size:,}")
        elif oid not in there:
            too_large = size > hub.settings.file_limit
            limit = f"a file may have {hub.settings.file_limit:,} bytes on this hub"
            found[oid] = Refused(413, limit) if too_large else None
    if noted := {oid: size for oid, size in known.items() if oid not in found}:
        with hub.database.write() as connection:
            note_blobs(connection, repo.id, noted, committed=False)
    return found


def lifetime(hub: Hub, size: int) -> int:
    """Seconds that an address for `size` bytes is good for."""
    return max(hub.settings.link_lifetime, size // SLOWEST)


def signed_repo(hub: Hub, signature: str, kind: str, repo_id: str, *about: object) -> Row[Any]:
    """The repository that a signed address is for. Raises `HubError` 403."""
    row = None
    if repo_id.isdecimal() and len(repo_id) < 19:
        with hub.database.read() as connection:
            row = connection.execute(select(repos).where(repos.c.id == int(repo_id))).first()
    hub.check_signature(signature, kind, repo_id, row.created_at if row else None, *about)
    if row is None or row.disabled:
        raise HubError(403, "That repository is gone")
    return row


def sign(hub: Hub, kind: str, repo: Row[Any], *about: object, size: int) -> str:
    """The signature of an address for `kind` of use; `signed_repo` checks it."""
    seconds = lifetime(hub, size)
    return hub.sign(kind, repo.id, repo.created_at, *about, seconds=seconds)
