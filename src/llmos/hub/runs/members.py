"""Members: who they are, what they have contributed to joint runs, what they share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, func, or_, select

from llmos.hub.accounts.rights import Caller, visible
from llmos.hub.database.tables import accounts, keys, repos, run_members, runs

COUNTED = ("runs", "tokens", "runs_owned", "models", "datasets", "spaces")


def list_members(
    connection: Connection,
    *,
    search: str = "",
    country: str = "",
    language: str = "",
    kind: str = "",
    after: str = "",
    limit: int = 50,
) -> Sequence[Row[Any]]:
    """Users and organisations by name, those after the name `after`."""
    query = select(accounts).where(accounts.c.disabled_at.is_(None))
    if search:
        words = search.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        like = f"%{words}%"
        query = query.where(
            or_(
                accounts.c.name_key.like(like, escape="\\"),
                func.lower(accounts.c.full_name).like(like, escape="\\"),
            )
        )
    if country:
        query = query.where(accounts.c.country == country.upper())
    if kind:
        query = query.where(accounts.c.kind == kind)
    if after:
        query = query.where(accounts.c.name_key > after.lower())
    rows: list[Row[Any]] = []
    for row in connection.execute(query.order_by(accounts.c.name_key)):
        if not language or _speaks(row.languages, language):
            rows.append(row)
        if len(rows) >= limit:
            break
    return rows


def _speaks(languages: Iterable[str], wanted: str) -> bool:
    """Whether a language is among them; zh stands for zh-Hans too."""
    low = wanted.lower()
    return any(tag.lower() == low or tag.lower().startswith(f"{low}-") for tag in languages)


def contributions(
    connection: Connection, caller: Caller, account_ids: Sequence[int]
) -> dict[int, dict[str, Any]]:
    """What each of these accounts has contributed, as far as the caller may see it: runs that it
    took part in, tokens (only of ledgers that verify, signed by a key of the account), models and
    data sets."""
    ids = list(account_ids)
    found: dict[int, dict[str, Any]] = {one: dict.fromkeys(COUNTED, 0) for one in ids}
    owned = (
        select(repos.c.owner_id, repos.c.kind, func.count())
        .where(repos.c.owner_id.in_(ids), visible(caller, repos))
        .group_by(repos.c.owner_id, repos.c.kind)
    )
    for owner, kind, count in connection.execute(owned):
        name = "runs_owned" if kind == "run" else f"{kind}s"
        found[owner][name] = count
    taken: dict[int, set[int]] = {one: set() for one in ids}
    for row in connection.execute(_parts(caller, ids)):
        taken[row.member_of].add(row.repo_id)
        if row.verified:
            found[row.member_of]["tokens"] += row.tokens
    for one, names in taken.items():
        found[one]["runs"] = len(names)
    return found


def _parts(caller: Caller, ids: Sequence[int]) -> Any:
    """Members of runs whose key is one of the accounts': the key counts, a name is only a word."""
    return (
        select(
            keys.c.account_id.label("member_of"),
            run_members.c.repo_id,
            run_members.c.name,
            run_members.c.tokens,
            run_members.c.rounds,
            runs.c.verified,
            runs.c.state,
            repos.c.full_name,
        )
        .join(keys, keys.c.public_key == run_members.c.public_key)
        .join(runs, runs.c.repo_id == run_members.c.repo_id)
        .join(repos, and_(repos.c.id == run_members.c.repo_id, visible(caller, repos)))
        .where(keys.c.account_id.in_(list(ids)))
        .order_by(repos.c.full_name, run_members.c.name)
    )


def runs_of(connection: Connection, caller: Caller, account_id: int) -> list[dict[str, Any]]:
    """The runs that an account took part in: name, as which member, tokens, rounds, verified."""
    return [
        {
            "run": row.full_name,
            "member": row.name,
            "state": row.state,
            "tokens": row.tokens if row.verified else 0,
            "rounds": row.rounds,
            "verified": row.verified,
        }
        for row in connection.execute(_parts(caller, [account_id]))
    ]
