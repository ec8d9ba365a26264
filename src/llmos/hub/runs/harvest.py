"""Results that a model's own repository holds: results/*.json, taken in when they are committed."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select

from llmos.hub.accounts import audit
from llmos.hub.accounts.rights import Caller
from llmos.hub.database.tables import accounts
from llmos.hub.errors import HubError
from llmos.hub.git import trees
from llmos.hub.hub import Hub
from llmos.hub.runs.scores import LARGEST, add_result, read_record

RESULTS = "results"
MOST = 200  # files of one repository


def harvest(
    hub: Hub, connection: Connection, repo: Row[Any], root: trees.Tree, content_sha256: str
) -> None:
    """Take in the signed results in results/ that are of this model: of these files, by their hash,
    or, where a result names no files, by the name. Whatever else is there is passed over."""
    folder = root.get(RESULTS)
    if folder is None or not folder.directory:
        return
    named = [
        entry
        for name, entry in sorted(trees.load(connection, folder.key).items())
        if name.endswith(".json") and not entry.directory and entry.size <= LARGEST
    ]
    owner = connection.execute(select(accounts).where(accounts.c.id == repo.owner_id)).first()
    sender = Caller(id=owner.id, name=owner.name) if owner else Caller()
    for entry in named[:MOST]:
        try:
            result = read_record(b"".join(hub.blobs.read(entry.key)))
        except HubError:
            continue
        said = result.body["model"]
        name = str(said["name"]).lower()
        if said["sha256"] != content_sha256 if said["sha256"] else name != repo.name_key:
            continue
        row, is_new = add_result(connection, sender, result, repo)
        if is_new:
            audit.record(
                connection, sender.name or "hub", "result.add", row.sha256, model=repo.full_name
            )
