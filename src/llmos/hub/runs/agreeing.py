"""Members sign a run's recipe with a key that they have registered here."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select, update

from llmos.errors import SignatureError
from llmos.hub.accounts import audit
from llmos.hub.accounts.rights import Caller, role_in
from llmos.hub.database.connection import now
from llmos.hub.database.tables import keys, run_members
from llmos.hub.errors import forbidden, unprocessable
from llmos.hub.hub import Hub
from llmos.hub.runs.records import needed_run
from llmos.provenance.signing import verify

KIND = "agreement"
VERSION = 1


def agreement(run: str, member: str, recipe_sha256: str) -> dict[str, Any]:
    """What a member signs, as kind `agreement`; `run` is the run's full name."""
    return {"version": VERSION, "run": run, "member": member, "recipe_sha256": recipe_sha256}


def sign_recipe(hub: Hub, caller: Caller, repo: Row[Any], signed: dict[str, Any]) -> Row[Any]:
    """Take in a member's signed agreement and return the member's row.

    Raises `HubError` 422 for a signature that does not hold or is over something else, 403 when
    the key or the member is not the caller's.
    """
    try:
        body = verify(KIND, signed)
    except SignatureError as error:
        raise unprocessable(str(error)) from None
    with hub.database.write() as connection:
        run = needed_run(connection, repo)
        member = _member(connection, repo, str(body.get("member")))
        if body != agreement(repo.full_name, member.name, run.recipe_sha256):
            raise unprocessable(
                f"The agreement must name the run {repo.full_name}, the member {member.name} and "
                f"the recipe {run.recipe_sha256}, and nothing else"
            )
        owner = _key_owner(connection, signed["signer"])
        if role_in(caller, owner) not in ("contributor", "maintainer", "admin"):
            raise forbidden("That key is not registered for you: add it to your account first")
        if member.account_id is not None and member.account_id != owner:
            raise forbidden(f"{member.name} is another account's member")
        if member.account_id is None and role_in(caller, repo.owner_id) is None:
            raise forbidden(
                f"Whose member {member.name} is was not said: ask who planned the run, or take "
                "that name for your account"
            )
        connection.execute(
            update(run_members)
            .where(run_members.c.repo_id == repo.id, run_members.c.name == member.name)
            .values(
                public_key=signed["signer"],
                account_id=owner,
                signed_recipe=True,
                signature=signed,
                seen_at=now(),
            )
        )
        audit.record(
            connection,
            caller.name,
            "run.sign",
            repo.full_name,
            member=member.name,
            key=signed["signer"],
            recipe=run.recipe_sha256,
        )
        return _member(connection, repo, member.name)


def _member(connection: Connection, repo: Row[Any], name: str) -> Row[Any]:
    row = connection.execute(
        select(run_members).where(run_members.c.repo_id == repo.id, run_members.c.name == name)
    ).first()
    if row is None:
        raise unprocessable(f"{name[:40]!r} is no member of {repo.full_name}")
    return row


def _key_owner(connection: Connection, public_key: str) -> int:
    row = connection.execute(
        select(keys.c.account_id, keys.c.revoked_at).where(keys.c.public_key == public_key)
    ).first()
    if row is None or row.revoked_at is not None:
        said = "was revoked" if row else "is not registered here"
        raise forbidden(f"The key {public_key[:16]} {said}: add a key to your account first")
    return int(row.account_id)
