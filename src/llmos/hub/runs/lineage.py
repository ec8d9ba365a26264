"""Where a repository comes from and what was made of it: data sets, run, model, fine-tunes.

Links are names that cards state, a run's model, and data cards that a ledger names by their hash.
What the caller may not see is left out, as if it were not there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, func, or_, select

from llmos.hub.accounts.rights import Caller, Right, right_on, visible
from llmos.hub.database.tables import links, redirects, repos, run_members, runs

DEPTH = 4
MOST = 500  # nodes
KIND_OF = {"dataset": "dataset", "base_model": "model", "run": "run"}
"""Relations that lead to a repository, with its kind."""


@dataclass(frozen=True, slots=True)
class Node:
    """A repository, or a name that means none here (`here` is False)."""

    kind: str
    name: str
    here: bool = True
    license: str = ""
    sharing: str = ""

    @property
    def key(self) -> str:
        """What edges call it."""
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True, slots=True)
class Edge:
    """`target` was made from (or with) `source`: keys of nodes."""

    source: str
    target: str
    relation: str


@dataclass(frozen=True, slots=True)
class Lineage:
    """What leads to a repository and from it. `cut`: there is more than was followed."""

    root: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    cut: bool = False


def lineage(connection: Connection, caller: Caller, repo: Row[Any], depth: int = DEPTH) -> Lineage:
    """The lineage of `repo` in both directions, `depth` steps each."""
    root = _node(repo)
    nodes, edges, cut = {root.key: root}, set[Edge](), False
    for step in (_sources, _uses):
        front, seen = [repo], {root.key}
        for _ in range(depth + 1):
            following: list[Row[Any]] = []
            for row in front:
                for node, found, relation in step(connection, caller, row):
                    ends = (node.key, _node(row).key)
                    edge = Edge(*(ends if step is _sources else ends[::-1]), relation)
                    if node.key not in nodes and (len(nodes) >= MOST or _ == depth):
                        cut = True
                        continue
                    nodes.setdefault(node.key, node)
                    edges.add(edge)
                    if found is not None and node.key not in seen:
                        seen.add(node.key)
                        following.append(found)
            front = following
    order = sorted(edges, key=lambda edge: (edge.source, edge.target, edge.relation))
    return Lineage(root.key, tuple(nodes.values()), tuple(order), cut)


def _node(row: Row[Any]) -> Node:
    return Node(row.kind, row.full_name, True, row.license, row.sharing)


Found = Iterator[tuple[Node, Row[Any] | None, str]]


def _sources(connection: Connection, caller: Caller, repo: Row[Any]) -> Found:
    """What a repository was made from."""
    for relation, target in connection.execute(
        select(links.c.relation, links.c.target)
        .where(links.c.repo_id == repo.id, links.c.relation.in_(list(KIND_OF)))
        .order_by(links.c.relation, links.c.target)
    ):
        kind = KIND_OF[relation]
        row = _by_name(connection, kind, target)
        if row is None:
            yield Node(kind, target, here=False), None, relation
        elif right_on(connection, caller, row) >= Right.READ:
            yield _node(row), row, relation
        else:  # the card says the name to everybody; that it is here, nobody is told
            yield Node(kind, target, here=False), None, relation
    if repo.kind == "model":
        made = select(repos).join(runs, runs.c.repo_id == repos.c.id)
        query = made.where(func.lower(runs.c.model) == repo.name_key, visible(caller, repos))
        yield from _rows(connection, query, "run")
    if repo.kind == "run":
        query = select(repos).where(
            repos.c.kind == "dataset",
            repos.c.content_sha256.in_(_data_cards(connection, repo.id)),
            visible(caller, repos),
        )
        yield from _rows(connection, query, "dataset")


def _uses(connection: Connection, caller: Caller, repo: Row[Any]) -> Found:
    """What was made from a repository."""
    relation = next((name for name, kind in KIND_OF.items() if kind == repo.kind), None)
    if relation is not None:
        old = connection.scalars(select(redirects.c.name_key).where(redirects.c.repo_id == repo.id))
        query = (
            select(repos)
            .join(links, links.c.repo_id == repos.c.id)
            .where(
                links.c.relation == relation,
                func.lower(links.c.target).in_([repo.name_key, *old]),
                visible(caller, repos),
            )
        )
        yield from _rows(connection, query, relation)
    if repo.kind == "run":
        name = connection.execute(select(runs.c.model).where(runs.c.repo_id == repo.id)).scalar()
        row = _by_name(connection, "model", name) if name else None
        if row is not None and right_on(connection, caller, row) >= Right.READ:
            yield _node(row), row, "run"
    if repo.kind == "dataset" and repo.content_sha256:
        query = (
            select(repos)
            .join(run_members, run_members.c.repo_id == repos.c.id)
            .where(
                and_(
                    run_members.c.card["data_card_sha256"].as_string() == repo.content_sha256,
                    visible(caller, repos),
                )
            )
        )
        yield from _rows(connection, query, "dataset")


def _rows(connection: Connection, query: Any, relation: str) -> Found:
    for row in connection.execute(query.order_by(repos.c.full_name).limit(MOST)).all():
        yield _node(row), row, relation


def _data_cards(connection: Connection, repo_id: int) -> list[str]:
    cards = connection.scalars(select(run_members.c.card).where(run_members.c.repo_id == repo_id))
    found = (card.get("data_card_sha256") for card in cards if isinstance(card, dict))
    return [digest for digest in found if isinstance(digest, str) and digest]


def _by_name(connection: Connection, kind: str, name: str) -> Row[Any] | None:
    key = name.lower()
    row = connection.execute(
        select(repos)
        .outerjoin(redirects, redirects.c.repo_id == repos.c.id)
        .where(
            or_(
                and_(repos.c.kind == kind, repos.c.name_key == key),
                and_(redirects.c.kind == kind, redirects.c.name_key == key),
            )
        )
        .order_by((repos.c.name_key == key).desc())
    ).first()
    return row
