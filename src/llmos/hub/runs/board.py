"""Results shown: listed, and as a leaderboard. Those of a private model only to who may read it."""

from __future__ import annotations

import csv
import io
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, or_, select

from llmos.evaluation.leaderboard import Entry, Table, tables
from llmos.hub.accounts.rights import Caller, visible
from llmos.hub.database.tables import accounts, keys, repos, results
from llmos.provenance.results import Result

REVOKED = "signed with a key that had been revoked"
OTHER_FILES = "of other files than the model has now"
MOST = 10_000  # results that a leaderboard is made of, the newest
KEPT = 4  # leaderboards: those who may read private models see others
AT_ONCE = 500  # values of one statement
Board = list[tuple[dict[str, Any], frozenset[int | None]]]  # tables, with the ids of their models
_MADE_OF = ("id", "sha256", "repo_id", "signer", "created_at")
COLUMNS = (
    "task", "dataset", "metric", "settings", "items", "place", "model", "repository", "value",
    "low", "high", "signer", "public_key", "read_with_care", "result_sha256",
)  # fmt: skip


def seen_results(caller: Caller) -> Select[Any]:
    """The results that the caller may see, with what is known of their model and signer."""
    return _seen(caller, *results.c)


def _seen(caller: Caller, *columns: Any) -> Select[Any]:
    return (
        select(
            *columns,
            repos.c.full_name,
            repos.c.content_sha256,
            accounts.c.name.label("signer_name"),
            keys.c.revoked_at,
        )
        .select_from(results)
        .join(repos, repos.c.id == results.c.repo_id, isouter=True)
        .join(keys, keys.c.public_key == results.c.signer, isouter=True)
        .join(accounts, accounts.c.id == keys.c.account_id, isouter=True)
        .where(or_(results.c.repo_id.is_(None), visible(caller, repos)))
    )


def list_results(
    connection: Connection,
    caller: Caller,
    *,
    repo_id: int | None = None,
    signer: str = "",
    state: str = "",
    before: int | None = None,
    limit: int = 50,
) -> Sequence[Row[Any]]:
    """Results, newest first: of one model, one signer (public key or account), one state; with
    ids below `before`."""
    query = seen_results(caller)
    if repo_id is not None:
        query = query.where(results.c.repo_id == repo_id)
    if signer:
        query = query.where(
            or_(results.c.signer == signer.lower(), accounts.c.name_key == signer.lower())
        )
    if state:
        query = query.where(results.c.state == state)
    if before is not None:
        query = query.where(results.c.id < before)
    return connection.execute(query.order_by(results.c.id.desc()).limit(limit)).all()


def marks(row: Row[Any], record: Mapping[str, Any]) -> list[str]:
    """Why a result, and the `record` that was signed, are to be read with care, beyond what the
    leaderboard itself says."""
    found = []
    if row.revoked_at is not None and row.created_at >= row.revoked_at:
        found.append(REVOKED)
    said = record["model"].get("sha256")
    if row.repo_id is not None and said and row.content_sha256 not in ("", said):
        found.append(OTHER_FILES)
    return found


class Boards:
    """The leaderboards that were made last: thousands of results take seconds, and what they are
    made of changes less often than the database."""

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[Any, ...], Board] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, connection: Connection, caller: Caller) -> Board:
        """All tables of the results that the caller may see, as they are now."""
        query = _seen(caller, *(results.c[name] for name in _MADE_OF))
        rows = connection.execute(query.order_by(results.c.id.desc()).limit(MOST)).all()
        made_of = tuple(tuple(row) for row in rows)
        with self._lock:
            if made_of in self._made:
                self._made.move_to_end(made_of)
                return self._made[made_of]
        board = _made(connection, rows)
        with self._lock:
            self._made[made_of] = board
            while len(self._made) > KEPT:
                self._made.popitem(last=False)
        return board


def leaderboard(
    boards: Boards,
    connection: Connection,
    caller: Caller,
    *,
    task: str = "",
    dataset: str = "",
    metric: str = "",
    repo_id: int | None = None,
) -> list[dict[str, Any]]:
    """Tables of task x data set x metric, of the results that the caller may see; models whose
    intervals overlap share a place. With `repo_id`, only the tables in which that model is. What
    comes back is for reading: others are given the same."""
    wanted = {"task": task, "dataset": dataset, "metric": metric}
    return [
        table
        for table, models in boards.of(connection, caller)
        if (repo_id is None or repo_id in models)
        and all(not value or table[name] == value for name, value in wanted.items())
    ]


def _made(connection: Connection, rows: Sequence[Row[Any]]) -> Board:
    """The tables of these results; only what was signed is still to be read, and never changes."""
    records: dict[int, dict[str, Any]] = {}
    for start in range(0, len(rows), AT_ONCE):
        ids = [row.id for row in rows[start : start + AT_ONCE]]
        query = select(results.c.id, results.c.record).where(results.c.id.in_(ids))
        records |= {row.id: row.record for row in connection.execute(query)}
    there = [row for row in reversed(rows) if row.id in records]  # or deleted just now
    by_hash = {row.sha256: (row, marks(row, records[row.id])) for row in there}
    parsed = [Result(records[row.id], row.signer, row.sha256) for row in there]
    signers = {
        row.signer: row.signer_name
        for row, marked in by_hash.values()
        if row.signer_name is not None and REVOKED not in marked
    }
    return [
        (
            _table_json(table, by_hash),
            frozenset(by_hash[entry.hashes["result"]][0].repo_id for entry in table.entries),
        )
        for table in tables(parsed, signers)
    ]


def _table_json(table: Table, by_hash: Mapping[str, tuple[Row[Any], list[str]]]) -> dict[str, Any]:
    facts = {name: getattr(table, name) for name in Table.__dataclass_fields__}
    facts["entries"] = [
        _entry_json(entry, *by_hash[entry.hashes["result"]]) for entry in table.entries
    ]
    return facts


def _entry_json(entry: Entry, row: Row[Any], marked: list[str]) -> dict[str, Any]:
    return {
        "place": entry.place,
        "model": entry.model,
        "repository": row.full_name,
        "score": entry.score.to_json(),
        "signer": {"public_key": row.signer, "account": row.signer_name},
        "how": entry.how,
        "marks": [*entry.marks, *marked],
        "links": {
            name: target for name, target in entry.links.items() if target.startswith("https://")
        },
        "hashes": dict(entry.hashes),
    }


def as_csv(shown: Sequence[Mapping[str, Any]]) -> str:
    """A leaderboard as CSV (RFC 4180), a line for each model in each table."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    writer.writerows(_csv_lines(shown))
    return out.getvalue()


def _csv_lines(shown: Sequence[Mapping[str, Any]]) -> Iterator[list[Any]]:
    for table in shown:
        for entry in table["entries"]:
            score, signer = entry["score"], entry["signer"]
            cells = [
                table["task"], table["dataset"], table["metric"], table["settings"], table["n"],
                entry["place"], entry["model"], entry["repository"] or "", score["value"],
                score["low"], score["high"], signer["account"] or "", signer["public_key"],
                "; ".join(entry["marks"]), entry["hashes"]["result"],
            ]  # fmt: skip
            yield [_plain(cell) for cell in cells]


def _plain(cell: Any) -> Any:
    """A cell that a spreadsheet does not take for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in "=+-@\t\r" and cell else cell
