"""The run acme/tiny: planned, told of, committed to."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from llmos.hub.accounts.rights import account_row
from llmos.hub.database.connection import now
from llmos.hub.database.tables import keys
from llmos.provenance.signing import SigningKey, load_key

if TYPE_CHECKING:
    from tests.conftest import Joint
    from tests.hub.conftest import World

RUN = "/api/runs/acme/tiny"


def key_of(joint: Joint, member: str) -> SigningKey:
    return load_key(joint.folder / "members" / member / "key.pem")


def register(world: World, name: str, public: str, revoked_at: int | None = None) -> None:
    """A key of an account, as if the account had proved that it holds it."""
    with world.hub.database.write() as connection:
        account = account_row(connection, name)
        assert account is not None
        row = {"account_id": account.id, "public_key": public, "created_at": now()}
        connection.execute(keys.insert(), {**row, "revoked_at": revoked_at})


def plan(world: World, recipe: str, user: str = "alice", **more: Any) -> Any:
    body = {"name": "acme/tiny", "recipe": recipe, **more}
    return world.ask("POST", "/api/runs", user, json=body)


def commit(world: World, files: dict[str, bytes], gone: tuple[str, ...] = ()) -> Any:
    """A commit as clients of the Hugging Face protocol send it."""
    lines: list[dict[str, Any]] = [{"key": "header", "value": {"summary": "change"}}]
    for path, content in files.items():
        text = base64.b64encode(content).decode()
        lines.append(
            {"key": "file", "value": {"path": path, "content": text, "encoding": "base64"}}
        )
    lines += [{"key": "deletedFile", "value": {"path": path}} for path in gone]
    body = "\n".join(json.dumps(line) for line in lines)
    return world.ask(
        "POST",
        f"{RUN}/commit/main",
        "alice",
        content=body,
        headers={"Content-Type": "application/x-ndjson"},
    )


def tell(world: World, points: Any, user: str | None = "alice") -> Any:
    body = json.dumps({"points": points})
    return world.ask("POST", f"{RUN}/progress", user, content=body)


def send_ledger(world: World, data: bytes, user: str | None = "alice") -> Any:
    return world.ask("POST", f"{RUN}/ledger", user, content=data)
