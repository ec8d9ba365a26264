"""What the pages of a repository have in common, and what its card page shows."""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import Connection, Row, func, select

from llmos.hub.accounts.rights import Caller, Right
from llmos.hub.api.asking import Ask
from llmos.hub.database.tables import access_requests, commits, discussions, likes
from llmos.hub.errors import HubError
from llmos.hub.git import trees
from llmos.hub.git.trees import Entry
from llmos.hub.hub import Hub
from llmos.hub.repos.delivery import text_of
from llmos.hub.repos.indexing import many
from llmos.hub.runs.licences import stated_licence
from llmos.hub.runs.lineage import Node, lineage
from llmos.hub.together import notifications
from llmos.provenance.obligations import obligations
from llmos.web.markdown import card_html, without_head
from llmos.web.rendering import file_path, repo_path

LONGEST_CARD = 1 << 20  # bytes that are read
MOST_RELATED = 12
log = logging.getLogger("llmos.hub")


def shell(ask: Ask, connection: Connection, tab: str) -> dict[str, Any]:
    """What the head of every page of a repository shows."""
    repo = ask.repo
    waiting = 0
    if ask.right >= Right.MANAGE and repo.gated:
        asked = (access_requests.c.repo_id == repo.id) & (access_requests.c.status == "pending")
        waiting = _count(connection, access_requests, asked)
    still = (discussions.c.repo_id == repo.id) & discussions.c.status.in_(["open", "draft"])
    mine = (likes.c.repo_id == repo.id) & (likes.c.account_id == ask.caller.id)
    return {
        "repo": repo,
        "path": repo_path(repo.kind, repo.full_name),
        "owner": repo.full_name.rpartition("/")[0],
        "short_name": repo.full_name.rpartition("/")[2],
        "tab": tab,
        "open_count": _count(connection, discussions, still),
        "waiting": waiting,
        "liked": ask.caller.known and _count(connection, likes, mine) > 0,
        "may_read_files": ask.right >= Right.CONTENT,
        "may_propose": ask.right >= Right.PROPOSE,
        "may_write": ask.right >= Right.WRITE,
        "may_manage": ask.right >= Right.MANAGE,
        "may_own": ask.right >= Right.OWN,
    }


def _count(connection: Connection, table: Any, where: Any) -> int:
    found = connection.execute(select(func.count()).select_from(table).where(where)).scalar_one()
    return int(found)


def seen(ask: Ask, number: int) -> None:
    """Who opens a discussion, or the requests for access, has read the notification of it."""
    if not ask.caller.session:
        return
    mark = (ask.repo.id, number)
    with ask.hub.database.read() as connection:
        waits = notifications.is_unread(connection, ask.caller, *mark)
    if not waits:
        return
    try:
        with ask.hub.database.write() as connection:
            notifications.mark_read(connection, ask.caller, [mark], read=True)
    except HubError as error:  # a full disk must not keep readers out
        log.warning("a notification was not marked as read: %s", error)


def head_tree(connection: Connection, repo: Row[Any]) -> str | None:
    """The key of the root folder of main; None when there is no commit."""
    found = select(commits.c.tree).where(commits.c.repo_id == repo.id, commits.c.oid == repo.head)
    return connection.execute(found).scalar()


def shown_text(hub: Hub, path: str, entry: Entry, limit: int) -> str | None:
    """A file's text as a page shows it; None when it shows none (see `text_of`)."""
    text = text_of(hub, path, entry, limit)
    return None if text is None else text.removeprefix("\ufeff")


def card_of(ask: Ask, root: str | None) -> dict[str, Any]:
    """The card of main as HTML; `has_card` without `card`: it cannot be shown."""
    with ask.hub.database.read() as connection:
        entry = trees.find(connection, root, "README.md") if root else None
    if entry is None or entry.directory:
        return {"card": None, "has_card": False}
    text = shown_text(ask.hub, "README.md", entry, LONGEST_CARD)
    if text is None:
        return {"card": None, "has_card": True}
    names = (ask.repo.kind, ask.repo.full_name)
    pages = file_path(*names, "blob", "main") + "/"
    pictures = file_path(*names, "resolve", "main") + "/"
    return {"card": card_html(without_head(text), pages, pictures), "has_card": True}


def facts_of(repo: Row[Any]) -> dict[str, Any]:
    """What the panel beside a card tells."""
    card, facts = repo.card, repo.facts
    stated = stated_licence(repo)
    config = facts.get("config")
    return {
        "parameters": repo.parameters,
        "languages": many(card.get("language")),
        "tasks": many(facts.get("pipeline_tag")) or many(card.get("task_categories")),
        "library": next(iter(many(facts.get("library_name"))), ""),
        "family": str(config.get("model_type", "")) if isinstance(config, dict) else "",
        "licence": repo.license or "",
        "licence_stated": stated or repo.license or "",
        "obligations": obligations(stated) if stated else None,
        "tags": many(card.get("tags"))[:30],
    }


def access_of(connection: Connection, caller: Caller, repo: Row[Any]) -> str:
    """How the caller's request for access stands: pending, accepted, rejected; "": none."""
    asked = select(access_requests.c.status).where(
        access_requests.c.repo_id == repo.id, access_requests.c.account_id == caller.id
    )
    return str(connection.execute(asked).scalar() or "") if caller.known else ""


def related(connection: Connection, caller: Caller, repo: Row[Any]) -> dict[str, Any]:
    """Lineage: direct sources by relation, those further back, what was made of the repository."""
    line = lineage(connection, caller, repo)
    nodes = {node.key: node for node in line.nodes}
    up: dict[str, list[Node]] = {}
    for edge in line.edges:
        if edge.target == line.root:
            up.setdefault(edge.relation, []).append(nodes[edge.source])
    above = _reached(line.root, {(edge.target, edge.source) for edge in line.edges})
    below = _reached(line.root, {(edge.source, edge.target) for edge in line.edges})
    direct = {node.key for some in up.values() for node in some}
    return {
        "up": up,
        "further": [node for node in line.nodes if node.key in above - direct][:MOST_RELATED],
        "down": [node for node in line.nodes if node.key in below][:MOST_RELATED],
        "more_down": max(0, len(below) - MOST_RELATED),
    }


def _reached(start: str, steps: set[tuple[str, str]]) -> set[str]:
    """All that steps (from, to) lead to, without the start."""
    found: set[str] = set()
    front = {start}
    while front:
        front = {after for before, after in steps if before in front} - found - {start}
        found |= front
    return found
