"""What a repository's references lead to: commits, trees, blobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from sqlalchemy import Connection, select

from llmos.hub.database.tables import commits, trees
from llmos.hub.git.entries import Piece, decode, key_of

T = TypeVar("T")
MANY = 500  # keys in one query


@dataclass(slots=True)
class Reached:
    """What was reached. `lost` are commits and trees that are missing or damaged."""

    commits: set[str] = field(default_factory=set)
    trees: set[str] = field(default_factory=set)
    blobs: dict[str, int] = field(default_factory=dict)  # sha256 -> bytes
    lost: list[str] = field(default_factory=list)


def batches(items: Iterable[T], size: int = MANY) -> Iterator[list[T]]:
    """The items in lists of `size`."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


def reach(
    connection: Connection, repo_id: int, starts: Iterable[str], reached: Reached | None = None
) -> Reached:
    """Follow the commits `starts` of a repository to all that they need, and add it to `reached`;
    what is in there already is not followed again."""
    reached = Reached() if reached is None else reached
    roots = _reach_commits(connection, repo_id, set(starts), reached)
    _reach_trees(connection, roots, reached)
    return reached


def _reach_commits(
    connection: Connection, repo_id: int, frontier: set[str], reached: Reached
) -> set[str]:
    roots: set[str] = set()
    while frontier := frontier - reached.commits:
        found, parents = set(), set()
        for some in batches(sorted(frontier)):
            for row in connection.execute(
                select(commits.c.oid, commits.c.tree, commits.c.parents).where(
                    commits.c.repo_id == repo_id, commits.c.oid.in_(some)
                )
            ):
                found.add(row.oid)
                roots.add(row.tree)
                parents.update(row.parents)
        reached.lost += [f"commit {oid}" for oid in sorted(frontier - found)]
        reached.commits |= frontier
        frontier = parents
    return roots


def _reach_trees(connection: Connection, frontier: set[str], reached: Reached) -> None:
    while frontier := frontier - reached.trees:
        found, below = set(), set()
        for some in batches(sorted(frontier)):
            for row in connection.execute(select(trees).where(trees.c.key.in_(some))):
                if key_of(row.data) != row.key:
                    continue
                found.add(row.key)
                parts = decode(row.data)
                for part in parts if isinstance(parts, list) else parts.values():
                    if isinstance(part, Piece) or part.directory:
                        below.add(part.key)
                    else:
                        reached.blobs[part.key] = part.size
        reached.lost += [f"tree {key}" for key in sorted(frontier - found)]
        reached.trees |= frontier
        frontier = below
