"""A run's ledger: taken in, held against the one before, examined."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, select, update

from llmos.hub.accounts import audit
from llmos.hub.accounts.rights import Caller
from llmos.hub.database.connection import now
from llmos.hub.database.tables import run_members, runs
from llmos.hub.errors import HubError, conflict, unprocessable
from llmos.hub.git import trees, versions
from llmos.hub.hub import Hub
from llmos.hub.repos.changes import commit_on
from llmos.hub.repos.content import keep_bytes
from llmos.hub.repos.edits import Changes
from llmos.hub.repos.indexing import index_repo
from llmos.hub.runs.agreeing import held_to
from llmos.hub.runs.examining import LARGEST, Examined, examine
from llmos.hub.runs.progress import progress_of, write_points
from llmos.hub.runs.records import LEDGER, needed_run, rewritten


def take_ledger(hub: Hub, caller: Caller, repo: Row[Any], data: bytes) -> Examined:
    """Take in a ledger, whole or from the entry after the last one that is here; it is committed
    as ledger.jsonl, and examined.

    Raises `HubError` 409 for one that does not go on from the one that is here (rewritten or cut),
    or is of another recipe; 413 for one that is too large; 422 for one whose chain or signatures
    are broken, such as by the way here. One that is sound but tells of something wrong is kept and
    marked.
    """
    with hub.database.read() as connection:
        run = needed_run(connection, repo)
    before = _content(hub, run.ledger_blob)
    whole = _whole(repo, run, before, data)
    if len(whole) > LARGEST:
        raise HubError(413, f"A ledger has at most {LARGEST:,} bytes")
    found = examine(whole)
    if found.checks[0].problems:
        raise unprocessable(f"The ledger does not hold: {found.checks[0].problems[0]}")
    _same_recipe(repo, run, found)
    found = _held(hub, repo, found)
    entry = keep_bytes(hub, whole)
    with hub.database.write() as connection:
        if needed_run(connection, repo).ledger_blob != run.ledger_blob:
            raise conflict("Somebody else sent a ledger meanwhile: send yours again")
        note_ledger(connection, repo, found, entry.key)
        if _at_main(connection, repo) != entry.key:
            ref = versions.find_ref(connection, repo.id, versions.MAIN)
            assert ref is not None, "every repository has a main branch"
            changes = Changes(f"Ledger up to entry {found.entries - 1}", added={LEDGER: entry})
            commit_on(connection, caller, repo, ref, changes)
            index_repo(hub, connection, repo.id)
        _record(connection, caller, repo, found)
    return found


def check_again(hub: Hub, caller: Caller, repo: Row[Any]) -> Examined:
    """Examine the ledger at the head of main, such as one that came with a commit.

    Raises `HubError` 409 for none, or one of another recipe. One that is broken is marked, and may
    be replaced by one that goes on from the last that held.
    """
    with hub.database.read() as connection:
        run = needed_run(connection, repo)
        blob = _at_main(connection, repo)
    if not blob:
        raise conflict(f"{repo.full_name} has no ledger yet")
    found = examine(_content(hub, blob))
    broken = bool(found.checks[0].problems)
    if not broken:
        _same_recipe(repo, run, found)
        found = _held(hub, repo, found)
    with hub.database.write() as connection:
        now_there = needed_run(connection, repo).ledger_blob
        if (now_there, _at_main(connection, repo)) != (run.ledger_blob, blob):
            raise conflict("Somebody else sent a ledger meanwhile: check again")
        if broken:
            values = {"verified": False, "verdict": found.verdict, "updated_at": now()}
            connection.execute(update(runs).where(runs.c.repo_id == repo.id).values(**values))
        else:
            note_ledger(connection, repo, found, blob)
        _record(connection, caller, repo, found)
    return found


def _whole(repo: Row[Any], run: Row[Any], before: bytes, data: bytes) -> bytes:
    """The ledger that `data` makes of the one before. Raises 409 when it does not go on from it."""
    if not before or data.startswith(before):
        return data
    try:
        goes_on = json.loads(data.split(b"\n", 1)[0])["previous"] == run.ledger_head
    except (ValueError, LookupError, TypeError, RecursionError):
        goes_on = False
    if not goes_on:
        raise rewritten(repo)
    return before + data


def _same_recipe(repo: Row[Any], run: Row[Any], found: Examined) -> None:
    if found.recipe_sha256 != run.recipe_sha256:
        raise conflict(
            f"This ledger is of the recipe {found.recipe_sha256[:16]}, but {repo.full_name} was "
            f"planned with {run.recipe_sha256[:16]}"
        )


def _held(hub: Hub, repo: Row[Any], found: Examined) -> Examined:
    """The same, with what members agreed to here."""
    with hub.database.read() as connection:
        check = held_to(connection, repo, found.members)
    return replace(found, checks=(*found.checks, check)) if check else found


def _record(connection: Connection, caller: Caller, repo: Row[Any], found: Examined) -> None:
    detail = {"head": found.head, "entries": found.entries, "verified": found.ok}
    audit.record(connection, caller.name, "run.ledger", repo.full_name, **detail)


def note_ledger(connection: Connection, repo: Row[Any], found: Examined, blob: str) -> None:
    """Write down what a ledger shows. Members' shares and figures count only where it verifies."""
    state = "done" if found.ok and found.finished else "running"
    values = {
        "ledger_blob": blob,
        "ledger_head": found.head,
        "entries": found.entries,
        "verified": found.ok,
        "verdict": found.verdict,
        "state": state,
        "updated_at": now(),
    }
    if found.ok:
        values |= {"round": found.round, "rounds": found.rounds, "unit": found.unit}
        told = {row.round: row._mapping["values"] for row in progress_of(connection, repo.id)}
        points = {number: told.get(number, {}) | own for number, own in found.points.items()}
        write_points(connection, repo.id, points)
    connection.execute(update(runs).where(runs.c.repo_id == repo.id).values(**values))
    if not found.ok:
        nothing = {"tokens": 0, "rounds": 0}
        connection.execute(
            update(run_members).where(run_members.c.repo_id == repo.id).values(**nothing)
        )
        return
    there = set(
        connection.scalars(select(run_members.c.name).where(run_members.c.repo_id == repo.id))
    )
    for share in found.members:
        own = {
            "public_key": share.public_key,
            "signed_recipe": True,
            "tokens": share.tokens,
            "rounds": share.rounds,
            "card": share.card,
            "seen_at": now(),
        }
        if share.name in there:
            same = (run_members.c.repo_id == repo.id) & (run_members.c.name == share.name)
            connection.execute(update(run_members).where(same).values(**own))
        else:
            row = {"repo_id": repo.id, "name": share.name, **own}
            connection.execute(run_members.insert(), row)


def _content(hub: Hub, blob: str) -> bytes:
    return b"".join(hub.blobs.read(blob)) if blob else b""


def _at_main(connection: Connection, repo: Row[Any]) -> str:
    """The sha256 of ledger.jsonl at the head of main; "" for none."""
    commit = versions.resolve(connection, repo.id, versions.MAIN)
    entry = trees.find(connection, commit.tree, LEDGER)
    return entry.key if entry and not entry.directory else ""
