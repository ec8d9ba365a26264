"""Pull requests: discussions with a branch of their own, refs/pr/NUMBER, that can be merged."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select

from llmos.hub.accounts.rights import Caller, Right
from llmos.hub.database.tables import commits
from llmos.hub.errors import bad_request, forbidden, revision_not_found
from llmos.hub.git import versions
from llmos.hub.together.comments import add_event
from llmos.hub.together.discussions import discussion_row, open_discussion
from llmos.hub.together.texts import LONGEST_TITLE

START = "refs/pr/"


def open_pull_request(
    connection: Connection,
    caller: Caller,
    repo: Row[Any],
    *,
    title: str,
    description: str = "",
    base: str = "main",
    head: str,
    status: str = "open",
) -> int:
    """A new pull request for the branch `base`; returns its number N. refs/pr/N points at the
    commit `head`, which must be stored already. `status` is open or draft. A title that is too
    long, as that of a commit may be, is cut.

    Raises `HubError` 404 when there is no such branch, 400 for texts and when `base` is no branch.
    """
    target = versions.find_ref(connection, repo.id, base)
    if target is None:
        raise revision_not_found(base)
    if target.kind != "branch":
        raise bad_request(f"A pull request must be for a branch: {base} is a {target.kind}")
    text = description.strip() or title
    line = " ".join(title.split())
    short = line if len(line) <= LONGEST_TITLE else f"{line[: LONGEST_TITLE - 3]}..."
    number = open_discussion(connection, caller, repo, short, text, base=target.name, status=status)
    versions.add_ref(connection, repo.id, f"{START}{number}", "pr", head)
    if head != target.commit:
        note_commit(connection, repo.id, f"{START}{number}", caller.name, head)
    return number


def number_of(ref_name: str) -> int | None:
    """The pull request that a reference belongs to; None: it is that of none."""
    text = ref_name.removeprefix(START)
    return int(text) if ref_name.startswith(START) and text.isdecimal() else None


def note_commit(connection: Connection, repo_id: int, ref_name: str, author: str, oid: str) -> None:
    """Tell a pull request's discussion of a commit to its reference; nothing for other ones."""
    number = number_of(ref_name)
    if number is None:
        return
    title = connection.execute(
        select(commits.c.title).where(commits.c.repo_id == repo_id, commits.c.oid == oid)
    ).scalar_one()
    add_event(connection, repo_id, number, author, "commit", {"subject": title, "oid": oid})


def check_push(
    connection: Connection, caller: Caller, right: Right, repo: Row[Any], ref_name: str
) -> None:
    """Raise `HubError` 403 unless the caller may commit to this pull request: who opened it and
    who may write to the repository, while it is neither merged nor closed."""
    number = number_of(ref_name)
    if number is None:
        raise revision_not_found(ref_name)
    row = discussion_row(connection, repo.id, number)
    if right < Right.PROPOSE or (right < Right.WRITE and row.author != caller.name):
        raise forbidden("Only its author and those who may write may commit to a pull request")
    if row.status in ("merged", "closed"):
        raise forbidden(f"The pull request is {row.status}: open another one")
