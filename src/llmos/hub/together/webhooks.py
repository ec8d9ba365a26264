"""Webhooks: what happened, put into the queue of those who want to be told.

The rows are written in the transaction of what they tell; deliveries.py sends them. The payload is
version 3 of Hugging Face's; its addresses are completed on sending.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, or_, select

from llmos.hub.accounts.rights import Right, right_on
from llmos.hub.database.connection import now
from llmos.hub.database.prepared import Prepared
from llmos.hub.database.tables import (
    accounts,
    repo_tags,
    repos,
    webhook_deliveries,
    webhook_watches,
    webhooks,
)
from llmos.hub.together.notifications import caller_for

VERSION = 3
MOST_WAITING = 1000  # deliveries of one webhook; more are dropped
FOLDERS = {"model": "", "dataset": "datasets/", "space": "spaces/", "run": "runs/"}


def object_id(*numbers: int) -> str:
    """24 hexadecimal digits that stand for a row, as Hugging Face's ids look."""
    width = 24 // len(numbers)
    return "".join(f"{number:0{width}x}" for number in numbers)


def tell_repo(
    connection: Connection,
    repo: Row[Any],
    action: str,
    scope: str = "repo",
    *,
    updated_refs: Sequence[tuple[str, str | None, str | None]] = (),
    moved_to: tuple[str, int | None] | None = None,
) -> None:
    """Queue that a repository was changed. `action` is create, update, move or delete, `scope`
    repo, repo.content or repo.config; `updated_refs` are (reference, commit before, commit after),
    `moved_to` the new name and owner."""
    hooks = _watching(connection, repo, "repo")
    about: dict[str, Any] = {}
    if updated_refs:
        about["updatedRefs"] = [
            {"ref": name, "oldSha": old, "newSha": new} for name, old, new in updated_refs
        ]
    if moved_to:
        about["movedTo"] = {"name": moved_to[0], "owner": {"id": object_id(moved_to[1] or 0)}}
    _queue(connection, hooks, repo, action, scope, about)


def tell_discussion(
    connection: Connection,
    repo: Row[Any],
    discussion: Row[Any],
    action: str,
    comment: Row[Any] | None = None,
) -> None:
    """Queue that a discussion, or a comment in it, was made, changed or deleted."""
    hooks = _watching(connection, repo, "discussion")
    if not hooks:
        return
    author = _account_id(connection, discussion.author)
    page = f"/{FOLDERS[repo.kind]}{repo.full_name}/discussions/{discussion.number}"
    told: dict[str, Any] = {
        "id": object_id(repo.id, discussion.number),
        "num": discussion.number,
        "title": discussion.title,
        "status": discussion.status,
        "author": {"id": author},
        "isPullRequest": discussion.pull_request,
        "pinned": discussion.pinned,
        "url": {"web": page, "api": f"/api/{_api(repo)}/discussions/{discussion.number}"},
    }
    if discussion.pull_request:
        told["changes"] = {"base": discussion.base}
        if discussion.merge_commit:
            told["changes"]["mergeCommitId"] = discussion.merge_commit
    about: dict[str, Any] = {"discussion": told}
    if comment is not None:
        about["comment"] = {
            "id": comment.event_id,
            "author": {"id": _account_id(connection, comment.author)},
            "content": comment.data["text"],
            "hidden": comment.data["hidden"],
            "url": {"web": f"{page}#{comment.event_id}"},
        }
    scope = "discussion" if comment is None else "discussion.comment"
    _queue(connection, hooks, repo, action, scope, about)


_WATCHED = select(webhook_watches.c.webhook_id).where(
    or_(
        (webhook_watches.c.name_key == bindparam("repo"))
        & (webhook_watches.c.kind == bindparam("kind")),
        (webhook_watches.c.name_key == bindparam("owner"))
        & or_(webhook_watches.c.kind == "user", webhook_watches.c.kind == "org"),
    )
)
_WATCHING = Prepared(
    select(webhooks).where(webhooks.c.disabled.is_(False), webhooks.c.id.in_(_WATCHED))
)


def _watching(connection: Connection, repo: Row[Any], domain: str) -> list[Row[Any]]:
    """The webhooks that watch this repository or its owner, of people who may see it."""
    owner = repo.name_key.rpartition("/")[0]
    asked = {"repo": repo.name_key, "kind": repo.kind, "owner": owner or None}
    hooks = _WATCHING.all(connection, asked)
    told = [hook for hook in hooks if domain in hook.domains]
    if not told:
        return []
    # As it is now: the caller's row may be older than a change of who may see the repository.
    now_row = connection.execute(select(repos).where(repos.c.id == repo.id)).first() or repo
    return [hook for hook in told if _may_know(connection, hook, now_row)]


def _may_know(connection: Connection, hook: Row[Any], repo: Row[Any]) -> bool:
    account = connection.execute(
        select(accounts).where(accounts.c.id == hook.account_id, accounts.c.disabled_at.is_(None))
    ).first()
    if account is None:
        return False
    return right_on(connection, caller_for(connection, account), repo) >= Right.READ


def _queue(
    connection: Connection,
    hooks: Sequence[Row[Any]],
    repo: Row[Any],
    action: str,
    scope: str,
    about: dict[str, Any],
) -> None:
    for hook in hooks:
        waiting = connection.execute(
            select(func.count())
            .select_from(webhook_deliveries)
            .where(
                webhook_deliveries.c.webhook_id == hook.id,
                webhook_deliveries.c.state == "waiting",
            )
        ).scalar_one()
        if waiting >= MOST_WAITING:
            continue
        payload = {
            "event": {"action": action, "scope": scope},
            "repo": _repo(connection, repo),
            **about,
            "webhook": {"id": hook.webhook_id, "version": VERSION},
        }
        at = now()
        row = {"webhook_id": hook.id, "payload": payload, "state": "waiting"}
        connection.execute(webhook_deliveries.insert(), {**row, "next_at": at, "created_at": at})


def _api(repo: Row[Any]) -> str:
    return f"{FOLDERS[repo.kind] or 'models/'}{repo.full_name}"


def _repo(connection: Connection, repo: Row[Any]) -> dict[str, Any]:
    head = connection.execute(select(repos.c.head).where(repos.c.id == repo.id)).scalar()
    tags = connection.scalars(select(repo_tags.c.tag).where(repo_tags.c.repo_id == repo.id)).all()
    return {
        "type": repo.kind,
        "name": repo.full_name,
        "id": object_id(repo.id),
        "private": repo.private,
        "headSha": head,
        "tags": list(tags),
        "owner": {"id": object_id(repo.owner_id or 0)},
        "url": {
            "web": f"/{FOLDERS[repo.kind]}{repo.full_name}",
            "api": f"/api/{_api(repo)}",
        },
    }


def _account_id(connection: Connection, name: str) -> str:
    found = select(accounts.c.id).where(accounts.c.name_key == name.lower())
    return object_id(connection.execute(found).scalar() or 0)
