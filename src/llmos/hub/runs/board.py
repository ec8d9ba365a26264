"""Results shown: listed, and as a leaderboard. Those of a private model only to who may read it."""

from __future__ import annotations

import csv
import io
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
COLUMNS = (
    "task", "dataset", "metric", "settings", "items", "place", "model", "repository", "value",
    "low", "high", "signer", "public_key", "read_with_care", "result_sha256",
)  # fmt: skip


def seen_results(caller: Caller) -> Select[Any]:
    """The results that the caller may see, with what is known of their model and signer."""
    return (
        select(
            results,
            repos.c.full_name,
            repos.c.content_sha256,
            accounts.c.name.label("signer_name"),
            keys.c.revoked_at,
        )
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


def marks(row: Row[Any]) -> list[str]:
    """Why a result is to be read with care, beyond what the leaderboard itself says."""
    found = []
    if row.revoked_at is not None and row.created_at >= row.revoked_at:
        found.append(REVOKED)
    said = row.record["model"].get("sha256")
    if row.repo_id is not None and said and row.content_sha256 not in ("", said):
        found.append(OTHER_FILES)
    return found


def leaderboard(
    connection: Connection,
    caller: Caller,
    *,
    task: str = "",
    dataset: str = "",
    metric: str = "",
    repo_id: int | None = None,
) -> list[dict[str, Any]]:
    """Tables of task x data set x metric, of the results that the caller may see; models whose
    intervals overlap share a place. With `repo_id`, only the tables in which that model is."""
    query = seen_results(caller).order_by(results.c.id.desc()).limit(MOST)
    rows = {row.sha256: row for row in reversed(connection.execute(query).all())}
    parsed = [Result(row.record, row.signer, row.sha256) for row in rows.values()]
    signers = {
        row.signer: row.signer_name
        for row in rows.values()
        if row.signer_name is not None and REVOKED not in marks(row)
    }
    wanted = {"task": task, "dataset": dataset, "metric": metric}
    shown = []
    for table in tables(parsed, signers):
        if any(value and getattr(table, name) != value for name, value in wanted.items()):
            continue
        own = [rows[entry.hashes["result"]].repo_id for entry in table.entries]
        if repo_id is None or repo_id in own:
            shown.append(_table_json(table, rows))
    return shown


def _table_json(table: Table, rows: Mapping[str, Row[Any]]) -> dict[str, Any]:
    facts = {name: getattr(table, name) for name in Table.__dataclass_fields__}
    facts["entries"] = [_entry_json(entry, rows[entry.hashes["result"]]) for entry in table.entries]
    return facts


def _entry_json(entry: Entry, row: Row[Any]) -> dict[str, Any]:
    return {
        "place": entry.place,
        "model": entry.model,
        "repository": row.full_name,
        "score": entry.score.to_json(),
        "signer": {"public_key": row.signer, "account": row.signer_name},
        "how": entry.how,
        "marks": [*entry.marks, *marks(row)],
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
