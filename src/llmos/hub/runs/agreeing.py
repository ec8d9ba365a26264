"""Members sign a run's recipe with a key that they have registered here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, select, update

from llmos.errors import SignatureError
from llmos.hub.accounts import audit
from llmos.hub.accounts.rights import Caller, role_in, visible
from llmos.hub.database.connection import now
from llmos.hub.database.tables import accounts, keys, repos, run_members, runs
from llmos.hub.errors import conflict, forbidden, unprocessable
from llmos.hub.hub import Hub
from llmos.hub.runs.examining import Share
from llmos.hub.runs.records import needed_run
from llmos.provenance.agreements import AGREEMENT, agreement
from llmos.provenance.run_checks import Check
from llmos.provenance.signing import verify

MAY_SIGN = ("contributor", "maintainer", "admin")
"""Roles in an organisation that may sign for it."""


def sign_recipe(hub: Hub, caller: Caller, repo: Row[Any], signed: dict[str, Any]) -> Row[Any]:
    """Take in a member's signed agreement and return the member's row.

    Raises `HubError` 422 for a signature that does not hold or is over something else, 403 when
    the key or the member is not the caller's, 409 when the run has a ledger.
    """
    try:
        body = verify(AGREEMENT, signed)
    except SignatureError as error:
        raise unprocessable(str(error)) from None
    with hub.database.write() as connection:
        run = needed_run(connection, repo)
        if run.ledger_head:
            raise conflict(f"{repo.full_name} has begun: its ledger says who takes part")
        member = _member(connection, repo, str(body.get("member")))
        if body != agreement(repo.full_name, member.name, run.recipe_sha256):
            raise unprocessable(
                f"The agreement must name the run {repo.full_name}, the member {member.name} and "
                f"the recipe {run.recipe_sha256}, and nothing else"
            )
        owner = _key_owner(connection, signed["signer"])
        if role_in(caller, owner) not in MAY_SIGN:
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


def agreements_of(connection: Connection, caller: Caller) -> Sequence[Any]:
    """The runs that await or have the agreement of the caller, or of an organisation that the
    caller may sign for: run, member, account, state, recipe_sha256, signed, public_key."""
    mine = [caller.id, *(one for one, role in caller.roles.items() if role in MAY_SIGN)]
    return connection.execute(
        select(
            repos.c.full_name.label("run"),
            run_members.c.name.label("member"),
            accounts.c.name.label("account"),
            runs.c.state,
            runs.c.recipe_sha256,
            run_members.c.signed_recipe.label("signed"),
            run_members.c.public_key,
        )
        .join(accounts, accounts.c.id == run_members.c.account_id)
        .join(runs, runs.c.repo_id == run_members.c.repo_id)
        .join(repos, and_(repos.c.id == run_members.c.repo_id, visible(caller, repos)))
        .where(run_members.c.account_id.in_(mine))
        .order_by(repos.c.name_key, run_members.c.name)
    ).all()


def held_to(connection: Connection, repo: Row[Any], shares: Sequence[Share]) -> Check | None:
    """Whether members that agreed here take part with the key they agreed with, or another of the
    same account; None where nobody has agreed here."""
    rows = connection.execute(
        select(run_members.c.name, run_members.c.signature).where(
            run_members.c.repo_id == repo.id, run_members.c.signed_recipe
        )
    )
    agreed = {row.name: row.signature["signer"] for row in rows if row.signature}
    if not agreed:
        return None
    taken = {share.name: share.public_key for share in shares if share.name in agreed}
    whose = {
        row.public_key: row.account_id
        for row in connection.execute(
            select(keys.c.public_key, keys.c.account_id).where(
                keys.c.public_key.in_([*agreed.values(), *taken.values()])
            )
        )
    }
    problems = [
        f"{name} agreed here with the key {agreed[name][:16]}, but takes part with {key[:16]}, "
        "which is not registered for the same account"
        for name, key in sorted(taken.items())
        if key != agreed[name] and (key not in whose or whose[key] != whose.get(agreed[name]))
    ]
    return Check("agreements", f"{len(agreed)} members agreed here", tuple(problems))


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
