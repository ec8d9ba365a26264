"""A repository's commits, and what one of them changed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from starlette.responses import Response

from llmos.hub.accounts.rights import Right
from llmos.hub.api.asking import Ask
from llmos.hub.api.routing import Route
from llmos.hub.git import trees, versions
from llmos.hub.together import diffs
from llmos.web.rendering import go_to, page, repo_path
from llmos.web.repo_views import shell

PAGE = 40
MOST_FILES = 100  # whose changes are shown in full
MOST_LISTED = 2000
LONGEST_LINE = 1000


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line of a change: `kind` is added, removed, gap or ""; numbers before and after."""

    kind: str
    old: int | None
    new: int | None
    text: str


@dataclass(frozen=True, slots=True)
class FileChange:
    """What became of one file; `lines` is empty where its text cannot be shown."""

    path: str
    what: str  # added | removed | changed
    before: int
    after: int
    lines: list[DiffLine]


def commits(ask: Ask) -> Response:
    """The commits before a revision, newest first."""
    revision = ask.value("rev")
    start = ask.query_number("start", 0, 1_000_000)
    with ask.hub.database.read() as connection:
        shown = shell(ask, connection, "history")
        head = versions.resolve(connection, ask.repo.id, revision)
        history = versions.history(connection, ask.repo.id, head.oid)
        rows = list(islice(history, start, start + PAGE + 1))
    return page(
        ask,
        "commits.html",
        **shown,
        revision=revision,
        commits=rows[:PAGE],
        forward=f"?start={start + PAGE}" if len(rows) > PAGE else "",
        back=f"?start={max(0, start - PAGE)}" if start else "",
    )


def commit(ask: Ask) -> Response:
    """What one commit changed, against its first parent."""
    with ask.hub.database.read() as connection:
        shown = shell(ask, connection, "history")
        row = versions.resolve(connection, ask.repo.id, ask.value("rev"))
        parent = row.parents[0] if row.parents else None
        before = versions.resolve(connection, ask.repo.id, parent).tree if parent else None
        changes = list(islice(trees.differences(connection, before, row.tree), MOST_LISTED + 1))
    return page(
        ask,
        "commit.html",
        **shown,
        commit=row,
        files=file_changes(ask, changes[:MOST_FILES]),
        others=[path for path, *_ in changes[MOST_FILES:MOST_LISTED]],
        more=len(changes) > MOST_LISTED,
    )


def file_changes(ask: Ask, changes: list[diffs.Change]) -> list[FileChange]:
    """Changes with their lines, up to as much as a page can bear."""
    found, length = [], 0
    for path, before, after in changes:
        what = "added" if before is None else "removed" if after is None else "changed"
        text = diffs.file_diff(ask.hub, path, before, after) if length < diffs.LONGEST else ""
        length += len(text)
        sizes = (before.size if before else 0, after.size if after else 0)
        found.append(FileChange(path, what, *sizes, diff_lines(text)))
    return found


def diff_lines(text: str) -> list[DiffLine]:
    """The lines of a unified diff of one file, with their numbers."""
    found: list[DiffLine] = []
    old = new = 0
    within = False
    for line in text.split("\n"):
        shown = line[:LONGEST_LINE]
        if line.startswith("@@ "):
            within = True
            ranges = line.split(" ")
            old = abs(int(ranges[1].split(",")[0]))
            new = int(ranges[2].split(",")[0])
            found.append(DiffLine("gap", None, None, shown))
        elif not within or not line or line.startswith("\\"):
            continue
        elif line[0] == "+":
            found.append(DiffLine("added", None, new, shown))
            new += 1
        elif line[0] == "-":
            found.append(DiffLine("removed", old, None, shown))
            old += 1
        else:
            found.append(DiffLine("", old, new, shown))
            old, new = old + 1, new + 1
    return found


def switch(ask: Ask) -> Response:
    """Lead to the files of the revision that was chosen from a list."""
    revision = ask.query("rev", "main")
    return go_to(repo_path(ask.repo.kind, ask.repo.full_name, "tree", revision))


ROUTES = [
    Route("GET", "/{prefix}/{repo}/commits/{rev}", Right.CONTENT, commits, page=True),
    Route("GET", "/{prefix}/{repo}/commit/{rev}", Right.CONTENT, commit, page=True),
    Route("GET", "/{prefix}/{repo}/files", Right.CONTENT, switch, page=True),
]
