"""Our own API: joint runs. Planned, signed, told of while they train, their ledger checked."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, Row, select
from starlette.responses import Response, StreamingResponse

from llmos.hub.accounts.rights import Right
from llmos.hub.api.asking import Ask, answer, iso
from llmos.hub.api.routing import Need, Route
from llmos.hub.database.tables import accounts, keys
from llmos.hub.errors import HubError, entry_not_found
from llmos.hub.runs import agreeing, ledgers, planning, progress
from llmos.hub.runs.examining import LARGEST, Examined
from llmos.hub.runs.records import LEDGER, members_of, run_row

LARGEST_PROGRESS = 256 << 10  # bytes of one message
POINTS_A_PAGE = 5000


class Plan(BaseModel):
    """A run to be planned."""

    model_config = ConfigDict(strict=True, extra="forbid")
    name: str = Field(description="owner/name of the run")
    recipe: str = Field(max_length=1 << 20, description="the recipe, as TOML")
    private: bool | None = Field(default=None, description="null: as the owner has it")
    members: dict[str, str] = Field(
        default_factory=dict,
        max_length=1000,
        description="account by member's name, where the two differ",
    )
    datasets: list[str] = Field(default_factory=list, max_length=1000)
    model: str = Field(default="", max_length=200, description="what is to come out, owner/name")


class NewState(BaseModel):
    """Where a run stands."""

    model_config = ConfigDict(strict=True, extra="forbid")
    state: str = Field(description="running, stopped, done or planned")


class Signed(BaseModel):
    """An agreement to the run's recipe, signed with a registered key (kind `agreement`)."""

    model_config = ConfigDict(strict=True, extra="forbid")
    version: int
    run: str
    member: str
    recipe_sha256: str
    signer: str
    signature: str


class Point(BaseModel):
    """Figures of one round: loss (nats per token), bits_per_byte, tokens, members, ..."""

    model_config = ConfigDict(extra="forbid")
    round: int = Field(ge=0, le=progress.LARGEST_ROUND, strict=True)
    values: dict[str, Any]


class Points(BaseModel):
    """Figures by round."""

    model_config = ConfigDict(extra="forbid")
    points: list[Point] = Field(min_length=1, max_length=2000)


def plan(ask: Ask) -> Response:
    """Plan a run: its repository with recipe and card. Whether the caller may make one under that
    name depends on the name, which is in the body."""
    data = ask.data
    assert isinstance(data, Plan)
    ask.need_account()
    repo = planning.plan_run(
        ask.hub,
        ask.caller,
        data.name,
        data.recipe,
        private=data.private,
        accounts=data.members,
        datasets=data.datasets,
        model=data.model,
    )
    with ask.hub.database.read() as connection:
        return answer({"url": ask.address_of(repo), **run_json(connection, repo)}, 201)


def show(ask: Ask) -> Response:
    """A run: recipe's hash, members and who has signed, where it stands, what its ledger proves."""
    with ask.hub.database.read() as connection:
        return answer(run_json(connection, ask.repo))


def run_json(connection: Connection, repo: Row[Any]) -> dict[str, Any]:
    """A run as the API shows it."""
    run = run_row(connection, repo.id)
    shown: dict[str, Any] = {"id": repo.full_name, "private": repo.private}
    if run is None:
        return {**shown, "state": "planned", "recipe_sha256": "", "members": [], "ledger": None}
    ledger = {
        "head": run.ledger_head,
        "entries": run.entries,
        "verified": run.verified,
        "verdict": run.verdict.split("\n") if run.verdict else [],
    }
    return {
        **shown,
        "state": run.state,
        "recipe_sha256": run.recipe_sha256,
        "round": run.round,
        "rounds": run.rounds,
        "unit": run.unit,
        "model": run.model or None,
        "members": _members_json(connection, repo.id),
        "ledger": ledger if run.entries or run.verdict else None,
        "updated_at": iso(run.updated_at),
    }


def _members_json(connection: Connection, repo_id: int) -> list[dict[str, Any]]:
    rows = members_of(connection, repo_id)
    named = {
        row.public_key: row
        for row in connection.execute(
            select(keys.c.public_key, keys.c.revoked_at, accounts.c.name)
            .join(accounts, accounts.c.id == keys.c.account_id)
            .where(keys.c.public_key.in_([row.public_key for row in rows if row.public_key]))
        )
    }
    ids = [row.account_id for row in rows if row.account_id]
    awaited = {
        row.id: row.name
        for row in connection.execute(
            select(accounts.c.id, accounts.c.name).where(accounts.c.id.in_(ids))
        )
    }
    return [
        {
            "name": row.name,
            "account": named[row.public_key].name
            if row.public_key in named
            else awaited.get(row.account_id or 0),
            "public_key": row.public_key or None,
            "key_known": row.public_key in named,
            "key_revoked": bool(row.public_key in named and named[row.public_key].revoked_at),
            "signed": row.signed_recipe,
            "tokens": row.tokens,
            "rounds": row.rounds,
            "data": row.card,
        }
        for row in rows
    ]


def set_state(ask: Ask) -> Response:
    """Say that a run is running, stopped or done."""
    assert isinstance(ask.data, NewState)
    planning.set_state(ask.hub, ask.caller, ask.repo, ask.data.state)
    return show(ask)


def sign(ask: Ask) -> Response:
    """Sign the recipe for a member. The key must be registered for the caller, or for an
    organisation in which the caller is contributor or more."""
    assert isinstance(ask.data, Signed)
    agreeing.sign_recipe(ask.hub, ask.caller, ask.repo, ask.data.model_dump())
    return show(ask)


def tell(ask: Ask) -> Response:
    """Tell figures of rounds: finite numbers only."""
    if len(ask.body) > LARGEST_PROGRESS:
        raise HubError(413, f"At most {LARGEST_PROGRESS:,} bytes of progress at once")
    assert isinstance(ask.data, Points)
    told = {point.round: point.values for point in ask.data.points}
    progress.add_progress(ask.hub, ask.caller, ask.repo, told)
    return answer({"points": len(told)})


def show_progress(ask: Ask) -> Response:
    """Figures by round, in order; `after`: only of later rounds."""
    after = ask.query_number("after", -1, progress.LARGEST_ROUND) if ask.query("after") else -1
    limit = ask.query_number("limit", POINTS_A_PAGE, POINTS_A_PAGE)
    with ask.hub.database.read() as connection:
        rows = progress.progress_of(connection, ask.repo.id, after=after, limit=limit)
    points = [{"round": row.round, "at": iso(row.at), "values": row.values} for row in rows]
    more = ask.next_link(after=rows[-1].round) if rows and len(rows) == limit else None
    return answer({"points": points}, headers=more)


def take_ledger(ask: Ask) -> Response:
    """Send the run's ledger (JSON lines), whole or what came after its head here. It is checked;
    one that does not go on from what is here is refused."""
    return answer(_examined_json(ledgers.take_ledger(ask.hub, ask.caller, ask.repo, ask.body)))


def verify(ask: Ask) -> Response:
    """Check the ledger in the repository again."""
    return answer(_examined_json(ledgers.check_again(ask.hub, ask.caller, ask.repo)))


def show_ledger(ask: Ask) -> Response:
    """The ledger, as it was last checked: JSON lines."""
    with ask.hub.database.read() as connection:
        run = run_row(connection, ask.repo.id)
    if run is None or not run.ledger_blob:
        raise entry_not_found(LEDGER)
    size = ask.hub.blobs.size(run.ledger_blob)
    headers = {"ETag": f'"{run.ledger_head}"', "Content-Length": str(size or 0)}
    lines = ask.hub.blobs.read(run.ledger_blob, 0, LARGEST)
    return StreamingResponse(lines, headers=headers, media_type="application/jsonl")


def _examined_json(found: Examined) -> dict[str, Any]:
    return {
        "verified": found.ok,
        "head": found.head,
        "entries": found.entries,
        "finished": found.finished,
        "checks": [
            {"name": check.name, "detail": check.detail, "problems": list(check.problems)}
            for check in found.checks
        ],
        "cannot_prove": list(found.cannot_prove),
    }


RUN = "/api/runs/{repo}"
ROUTES = [
    Route("POST", "/api/runs", Need.INSIDE, plan, Plan, documented=True),
    Route("GET", f"{RUN}/state", Right.READ, show, documented=True),
    Route("POST", f"{RUN}/state", Right.WRITE, set_state, NewState, documented=True),
    Route("POST", f"{RUN}/signature", Right.PROPOSE, sign, Signed, documented=True),
    Route("GET", f"{RUN}/progress", Right.READ, show_progress, documented=True),
    Route("POST", f"{RUN}/progress", Right.WRITE, tell, Points, documented=True),
    Route("GET", f"{RUN}/ledger", Right.CONTENT, show_ledger, documented=True),
    Route("POST", f"{RUN}/ledger", Right.WRITE, take_ledger, documented=True),
    Route("POST", f"{RUN}/verify", Right.WRITE, verify, documented=True),
]
