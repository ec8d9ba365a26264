"""Our own API: signed results, and the leaderboard that is made of them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row
from starlette.responses import Response

from llmos.hub.accounts import audit
from llmos.hub.api.asking import Ask, answer, iso
from llmos.hub.api.routing import Need, Route
from llmos.hub.database.tables import results
from llmos.hub.errors import HubError, bad_request
from llmos.hub.repos.finding import repo_for
from llmos.hub.runs import board, scores

STATES = ("verified", "unverifiable")


def add(ask: Ask) -> Response:
    """Send a signed result, as llmos evaluate writes it. It is kept once, by its sha256."""
    result = scores.read_record(ask.body)
    ask.need_account()
    with ask.hub.database.write() as connection:
        row, is_new = scores.add_result(connection, ask.caller, result)
        if is_new:
            audit.record(
                connection, ask.caller.name, "result.add", result.sha256, signer=result.signer
            )
        seen = board.seen_results(ask.caller).where(results.c.id == row.id)
        shown = connection.execute(seen).first()
    if shown is None:
        # It came before with a model that the caller may not see.
        return answer({"sha256": result.sha256, "new": False})
    return answer({**result_json(shown), "new": is_new}, 201 if is_new else 200)


def result_json(row: Row[Any]) -> dict[str, Any]:
    """A result as the API lists it; the record itself is at /api/results/{sha256}."""
    record = row.record
    return {
        "sha256": row.sha256,
        "state": row.state,
        "model": record["model"]["name"],
        "model_sha256": record["model"]["sha256"],
        "repository": row.full_name,
        "suite": record["suite"],
        "signer": {
            "public_key": row.signer,
            "account": row.signer_name,
            "revoked_at": iso(row.revoked_at) if row.revoked_at is not None else None,
        },
        "marks": board.marks(row, record),
        "benchmarks": [
            {
                "name": part["name"],
                "task": part["task"],
                "dataset": part["dataset"],
                "n": part["n"],
                "scores": [
                    {
                        name: score[name]
                        for name in ("metric", "settings", "value", "low", "high", "n")
                    }
                    for score in part["scores"]
                ],
            }
            for part in record["benchmarks"]
        ],
        "created_at": iso(row.created_at),
    }


def _wanted_model(ask: Ask, connection: Connection) -> int | None:
    """The id of the model that the query names, if it names one. Raises `HubError` 404."""
    model = ask.query("model")
    return repo_for(connection, ask.caller, "model", model)[0].id if model else None


def list_all(ask: Ask) -> Response:
    """Results, newest first; `model`, `signer` (key or account), `state`, `limit`; `record=1`: with
    the records that were signed."""
    state = ask.query("state")
    if state and state not in STATES:
        raise bad_request(f"state={state[:20]}: choose one of {', '.join(STATES)}")
    whole = ask.query_true("record")
    limit = max(1, ask.query_number("limit", 20, 20 if whole else 200))
    before = ask.query_number("before", 0, 2**53) or None
    with ask.hub.database.read() as connection:
        repo_id = _wanted_model(ask, connection)
        rows = board.list_results(
            connection,
            ask.caller,
            repo_id=repo_id,
            signer=ask.query("signer"),
            state=state,
            before=before,
            limit=limit,
        )
    more = ask.next_link(before=rows[-1].id) if len(rows) == limit else None
    shown = [{**result_json(row), **({"record": row.record} if whole else {})} for row in rows]
    return answer(shown, headers=more)


def show(ask: Ask) -> Response:
    """One result, with the record that was signed."""
    with ask.hub.database.read() as connection:
        wanted = board.seen_results(ask.caller).where(results.c.sha256 == ask.value("sha256"))
        row = connection.execute(wanted).first()
    if row is None:
        raise HubError(404, "There is no such result")
    return answer({**result_json(row), "record": row.record})


def show_leaderboard(ask: Ask) -> Response:
    """Tables of task x data set x metric; models whose intervals overlap share a place. `task`,
    `dataset`, `metric`, `model`; `format=csv`."""
    kind = ask.query("format", "json")
    if kind not in ("json", "csv"):
        raise bad_request(f"format={kind[:20]}: choose json or csv")
    with ask.hub.database.read() as connection:
        repo_id = _wanted_model(ask, connection)
        tables = board.leaderboard(
            ask.hub.boards,
            connection,
            ask.caller,
            task=ask.query("task"),
            dataset=ask.query("dataset"),
            metric=ask.query("metric"),
            repo_id=repo_id,
        )
    if kind == "csv":
        headers = {"Content-Disposition": 'attachment; filename="leaderboard.csv"'}
        return Response(board.as_csv(tables), 200, headers, "text/csv")
    return answer({"tables": tables})


ROUTES = [
    Route("POST", "/api/results", Need.WRITING, add, documented=True),
    Route("GET", "/api/results", Need.PUBLIC, list_all, documented=True),
    Route("GET", "/api/results/{sha256}", Need.PUBLIC, show, documented=True),
    Route("GET", "/api/leaderboard", Need.PUBLIC, show_leaderboard, documented=True),
]
