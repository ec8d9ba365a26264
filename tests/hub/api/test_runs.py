"""Joint runs over the API, with a real run's recipe and ledger."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update

from llmos.hub.accounts.audit import broken_entries
from llmos.hub.accounts.rights import account_row
from llmos.hub.database.connection import now
from llmos.hub.database.tables import audit, keys
from llmos.provenance.agreements import agreement
from llmos.provenance.ledger import Ledger
from llmos.provenance.signing import SigningKey, generate_key, load_key, sign
from llmos.recipe import load_recipe

if TYPE_CHECKING:
    from tests.conftest import Joint
    from tests.hub.conftest import World

RUN = "/api/runs/acme/tiny"


@pytest.fixture
def recipe(joint: Joint) -> str:
    return (joint.folder / "recipe.toml").read_text()


@pytest.fixture
def ledger(joint: Joint) -> bytes:
    return (joint.folder / "ledger.jsonl").read_bytes()


def key_of(joint: Joint, member: str) -> SigningKey:
    return load_key(joint.folder / "members" / member / "key.pem")


def register(world: World, name: str, public: str, revoked_at: int | None = None) -> None:
    """A key of an account, as if the account had proved that it holds it."""
    with world.hub.database.write() as connection:
        account = account_row(connection, name)
        assert account is not None
        row = {"account_id": account.id, "public_key": public, "created_at": now()}
        connection.execute(keys.insert(), {**row, "revoked_at": revoked_at})


def plan(world: World, recipe: str, user: str = "alice", **more: Any) -> Any:
    body = {"name": "acme/tiny", "recipe": recipe, **more}
    return world.ask("POST", "/api/runs", user, json=body)


@pytest.fixture
def planned(world: World, joint: Joint, recipe: str) -> World:
    """The run acme/tiny: anna is alice's member, ben bob's, who is a reader of acme."""
    register(world, "alice", key_of(joint, "anna").public)
    register(world, "bob", key_of(joint, "ben").public)
    made = plan(world, recipe, members={"anna": "alice", "ben": "bob"}, model="acme/tiny")
    assert made.status_code == 201, made.text
    return world


def test_a_planned_run_shows_its_recipe_and_members(
    planned: World, joint: Joint, recipe: str
) -> None:
    shown = planned.ask("GET", f"{RUN}/state").json()
    assert shown["recipe_sha256"] == load_recipe(joint.folder / "recipe.toml").sha256()
    assert (shown["state"], shown["round"], shown["rounds"]) == ("planned", 0, 3)
    assert [(m["name"], m["account"], m["signed"]) for m in shown["members"]] == [
        ("anna", "alice", False),
        ("ben", "bob", False),
    ]
    assert shown["ledger"] is None
    file = planned.ask("GET", "/runs/acme/tiny/resolve/main/recipe.toml")
    assert file.text == recipe


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"recipe": "no toml ="}, 422),
        ({"recipe": 'name = "x"\nunknown = 1'}, 422),
        ({"members": {"zoe": "bob"}}, 422),
        ({"members": {"anna": "nobody"}}, 422),
        ({"name": "other/tiny"}, 403),
        ({"name": "../x"}, 403),
        ({"name": "acme/bad name"}, 400),
        ({"name": 3}, 400),
        ({"odd": 1}, 400),
    ],
)
def test_a_plan_that_does_not_hold_leaves_nothing(
    world: World, recipe: str, change: dict[str, Any], status: int
) -> None:
    refused = plan(world, **{"recipe": recipe, **change})
    assert refused.status_code == status, refused.text
    assert world.ask("GET", f"{RUN}/state", "alice").status_code == 404


def test_who_may_not_write_there_plans_nothing(world: World, recipe: str) -> None:
    assert plan(world, recipe, user="bob").status_code == 403
    assert world.ask("POST", "/api/runs", json={"name": "a/b", "recipe": recipe}).status_code == 401
    assert plan(world, recipe).status_code == 201
    assert plan(world, recipe).status_code == 409


def test_members_sign_with_their_registered_keys(planned: World, joint: Joint) -> None:
    digest = load_recipe(joint.folder / "recipe.toml").sha256()
    anna, ben = key_of(joint, "anna"), key_of(joint, "ben")
    good = sign(anna, "agreement", agreement("acme/tiny", "anna", digest))

    def post(user: str | None, signed: dict[str, Any]) -> int:
        return int(planned.ask("POST", f"{RUN}/signature", user, json=signed).status_code)

    assert post(None, good) == 401
    assert post("bob", good) == 403  # the key is alice's
    assert post("alice", {**good, "recipe_sha256": "0" * 64}) == 422  # changed after signing
    assert post("alice", sign(anna, "agreement", agreement("acme/x", "anna", digest))) == 422
    assert post("alice", sign(anna, "agreement", agreement("acme/tiny", "anna", "0" * 64))) == 422
    assert post("alice", sign(anna, "agreement", agreement("acme/tiny", "ben", digest))) == 403
    assert post("alice", sign(anna, "agreement", agreement("acme/tiny", "eve", digest))) == 422
    assert post("alice", sign(anna, "join", agreement("acme/tiny", "anna", digest))) == 422
    assert post("alice", good) == 200
    assert post("bob", sign(ben, "agreement", agreement("acme/tiny", "ben", digest))) == 200
    shown = planned.ask("GET", f"{RUN}/state").json()["members"]
    assert [(m["signed"], m["key_known"]) for m in shown] == [(True, True), (True, True)]


def test_a_revoked_key_signs_nothing(planned: World, joint: Joint) -> None:
    digest = load_recipe(joint.folder / "recipe.toml").sha256()
    anna = key_of(joint, "anna")
    with planned.hub.database.write() as connection:
        mine = keys.c.public_key == anna.public
        connection.execute(update(keys).where(mine).values(revoked_at=now()))
    signed = sign(anna, "agreement", agreement("acme/tiny", "anna", digest))
    assert planned.ask("POST", f"{RUN}/signature", "alice", json=signed).status_code == 403


def test_a_signed_recipe_is_not_replaced(planned: World, joint: Joint, recipe: str) -> None:
    digest = load_recipe(joint.folder / "recipe.toml").sha256()
    signed = sign(key_of(joint, "anna"), "agreement", agreement("acme/tiny", "anna", digest))
    assert planned.ask("POST", f"{RUN}/signature", "alice", json=signed).status_code == 200
    changed = recipe.replace("seed = 0", "seed = 7", 1)
    assert changed != recipe
    refused = commit(planned, {"recipe.toml": changed.encode()})
    assert refused.status_code == 409, refused.text
    assert planned.ask("GET", "/runs/acme/tiny/resolve/main/recipe.toml").text == recipe


def commit(world: World, files: dict[str, bytes], gone: tuple[str, ...] = ()) -> Any:
    """A commit as clients of the Hugging Face protocol send it."""
    lines: list[dict[str, Any]] = [{"key": "header", "value": {"summary": "change"}}]
    for path, content in files.items():
        text = base64.b64encode(content).decode()
        lines.append(
            {"key": "file", "value": {"path": path, "content": text, "encoding": "base64"}}
        )
    lines += [{"key": "deletedFile", "value": {"path": path}} for path in gone]
    body = "\n".join(json.dumps(line) for line in lines)
    return world.ask(
        "POST",
        f"{RUN}/commit/main",
        "alice",
        content=body,
        headers={"Content-Type": "application/x-ndjson"},
    )


def tell(world: World, points: Any, user: str | None = "alice") -> Any:
    body = json.dumps({"points": points})
    return world.ask("POST", f"{RUN}/progress", user, content=body)


def test_progress_is_numbers_by_round(planned: World) -> None:
    first = [{"round": n, "values": {"loss": 5.0 - n, "tokens": 100 * n}} for n in (1, 2, 3)]
    assert tell(planned, first).status_code == 200
    assert tell(planned, [{"round": 2, "values": {"loss": 2.5}}]).status_code == 200
    shown = planned.ask("GET", f"{RUN}/progress").json()["points"]
    assert [(p["round"], p["values"]) for p in shown] == [
        (1, {"loss": 4.0, "tokens": 100}),
        (2, {"loss": 2.5}),
        (3, {"loss": 2.0, "tokens": 300}),
    ]
    later = planned.ask("GET", f"{RUN}/progress?after=1&limit=1")
    assert [p["round"] for p in later.json()["points"]] == [2]
    assert "after=2" in later.headers["link"]
    state = planned.ask("GET", f"{RUN}/state").json()
    assert (state["state"], state["round"]) == ("running", 3)


@pytest.mark.parametrize(
    "point",
    [
        {"round": 1, "values": {"loss": "low"}},
        {"round": 1, "values": {"loss": True}},
        {"round": 1, "values": {"loss": None}},
        {"round": 1, "values": {"loss": 10**400}},
        {"round": 1, "values": {"Loss of whom": 1.0}},
        {"round": 1, "values": {}},
        {"round": 1, "values": {f"x{n}": 1 for n in range(17)}},
        {"round": -1, "values": {"loss": 1.0}},
        {"round": 1.5, "values": {"loss": 1.0}},
        {"round": 10**12, "values": {"loss": 1.0}},
        {"values": {"loss": 1.0}},
        {"round": 1, "values": {"loss": 1.0}, "text": "x"},
    ],
)
def test_progress_takes_nothing_but_finite_numbers(planned: World, point: Any) -> None:
    assert tell(planned, [point]).status_code in (400, 422)
    assert planned.ask("GET", f"{RUN}/progress").json()["points"] == []


def test_progress_is_for_writers_and_bounded(planned: World) -> None:
    point = [{"round": 1, "values": {"loss": 1.0}}]
    assert tell(planned, point, None).status_code == 401
    assert tell(planned, point, "bob").status_code == 403
    nan = '{"points": [{"round": 1, "values": {"loss": NaN}}]}'
    assert planned.ask("POST", f"{RUN}/progress", "alice", content=nan).status_code == 400
    padded = json.dumps({"points": point}) + " " * (300 << 10)
    assert planned.ask("POST", f"{RUN}/progress", "alice", content=padded).status_code == 413


def send(world: World, data: bytes, user: str | None = "alice") -> Any:
    return world.ask("POST", f"{RUN}/ledger", user, content=data)


def test_a_ledger_is_verified_and_finishes_the_run(
    planned: World, joint: Joint, ledger: bytes
) -> None:
    found = send(planned, ledger).json()
    entries = Ledger.open(joint.folder / "ledger.jsonl").entries
    assert found["verified"] and found["finished"] and found["entries"] == len(entries)
    assert found["head"] == entries[-1].hash
    shown = planned.ask("GET", f"{RUN}/state").json()
    assert shown["state"] == "done" and shown["ledger"]["verified"] is True
    said = "\n".join(shown["ledger"]["verdict"])
    assert "ok: chain: " in said and "not proved: that token counts" in said
    tokens: dict[str, int] = {}
    for entry in entries:
        if entry.kind == "update_accepted":
            own = entry.body["update"]
            tokens[own["member"]] = tokens.get(own["member"], 0) + own["tokens"]
    assert {m["name"]: m["tokens"] for m in shown["members"]} == tokens
    points = planned.ask("GET", f"{RUN}/progress").json()["points"]
    means = {
        e.body["round"]: e.body["mean_bits_per_byte"] for e in entries if e.kind == "evaluated"
    }
    assert {p["round"]: p["values"]["bits_per_byte"] for p in points} == means
    assert planned.ask("GET", f"{RUN}/ledger").content == ledger
    assert planned.ask("GET", "/runs/acme/tiny/resolve/main/ledger.jsonl").content == ledger
    member = planned.ask("GET", "/api/members/bob").json()
    assert member["contributions"]["tokens"] == tokens["ben"]
    assert [(r["run"], r["member"], r["verified"]) for r in member["runs"]] == [
        ("acme/tiny", "ben", True)
    ]
    with planned.hub.database.read() as connection:
        assert list(broken_entries(connection)) == []
        done = list(connection.scalars(select(audit.c.action)))
    assert {"run.plan", "run.ledger"} <= set(done)


def test_a_ledger_grows_and_is_neither_cut_nor_rewritten(planned: World, ledger: bytes) -> None:
    lines = ledger.splitlines(keepends=True)
    half = b"".join(lines[: len(lines) // 2])
    begun = send(planned, half).json()
    assert begun["verified"] and not begun["finished"]
    assert "not closed" in "\n".join(begun["cannot_prove"])
    assert send(planned, half).status_code == 200  # the same again
    assert send(planned, b"".join(lines[:3])).status_code == 409  # cut
    assert send(planned, b"".join(lines[len(lines) // 2 + 1 :])).status_code == 409  # a gap
    rest = send(planned, b"".join(lines[len(lines) // 2 :]))  # only what is new
    assert rest.status_code == 200 and rest.json()["finished"]
    assert planned.ask("GET", f"{RUN}/ledger").content == ledger
    assert send(planned, half).status_code == 409


@pytest.mark.parametrize("where", ["first", "middle", "last", "torn", "nothing", "text"])
def test_a_damaged_ledger_is_refused(planned: World, ledger: bytes, where: str) -> None:
    lines = ledger.splitlines(keepends=True)
    at = {"first": 0, "middle": len(lines) // 2, "last": len(lines) - 1}.get(where, 0)
    changed = lines[at].replace(b'"version":1', b'"version":1 ', 1)
    bad = {
        "torn": ledger[:-30],
        "nothing": b"",
        "text": b"hello",
    }.get(where, b"".join([*lines[:at], changed, *lines[at + 1 :]]))
    assert send(planned, bad).status_code == 422
    assert planned.ask("GET", f"{RUN}/ledger").status_code == 404
    assert send(planned, ledger).json()["verified"]


def test_another_coordinators_history_is_no_continuation(
    planned: World, joint: Joint, ledger: bytes, tmp_path: Path
) -> None:
    opened = json.loads(ledger.splitlines()[0])
    other = Ledger.create(tmp_path / "other.jsonl", generate_key(tmp_path / "key.pem"))
    other.append("run_opened", opened["body"])
    assert send(planned, ledger).status_code == 200
    assert send(planned, (tmp_path / "other.jsonl").read_bytes()).status_code == 409


def test_a_ledger_of_another_recipe_is_refused(world: World, recipe: str, ledger: bytes) -> None:
    assert plan(world, recipe.replace("seed = 0", "seed = 7", 1)).status_code == 201
    assert send(world, ledger).status_code == 409


def test_a_ledger_that_tells_of_something_wrong_is_kept_and_marked(
    planned: World, joint: Joint, ledger: bytes, tmp_path: Path
) -> None:
    # The coordinator signs a mean that does not follow from the members' sums.
    key = load_key(joint.folder / "coordinator" / "key.pem")
    forged = Ledger.create(tmp_path / "forged.jsonl", key)
    done = False
    for line in ledger.splitlines():
        entry = json.loads(line)
        body = entry["body"]
        if entry["kind"] == "evaluated" and not done:
            body, done = {**body, "mean_bits_per_byte": 0.5}, True
        if done and entry["kind"] == "update_accepted":
            break  # it names a head of the true ledger
        forged.append(entry["kind"], body)
    found = send(planned, (tmp_path / "forged.jsonl").read_bytes())
    assert found.status_code == 200 and found.json()["verified"] is False
    shown = planned.ask("GET", f"{RUN}/state").json()
    assert shown["ledger"]["verified"] is False
    assert any("mean does not follow" in line for line in shown["ledger"]["verdict"])
    assert all(m["tokens"] == 0 for m in shown["members"])


def test_ledgers_are_for_writers(planned: World, ledger: bytes) -> None:
    assert send(planned, ledger, None).status_code == 401
    assert send(planned, ledger, "bob").status_code == 403


def test_a_commit_cannot_rewrite_the_ledger_and_is_checked_on_demand(
    planned: World, ledger: bytes
) -> None:
    lines = ledger.splitlines(keepends=True)
    half = b"".join(lines[: len(lines) // 2])
    assert send(planned, half).status_code == 200
    assert commit(planned, {"ledger.jsonl": b"".join(lines[:3])}).status_code == 409
    assert commit(planned, {}, gone=("ledger.jsonl",)).status_code == 409
    odd = commit(planned, {"ledger.jsonl": half + b"rubbish\n"})
    assert odd.status_code == 200, odd.text
    assert planned.ask("GET", f"{RUN}/state").json()["ledger"]["verified"] is None
    assert planned.ask("POST", f"{RUN}/verify", "alice").json()["verified"] is False
    assert commit(planned, {"ledger.jsonl": ledger}).status_code == 200
    assert planned.ask("POST", f"{RUN}/verify", "bob").status_code == 403
    assert planned.ask("POST", f"{RUN}/verify", "alice").json()["verified"] is True
    assert planned.ask("GET", f"{RUN}/state").json()["state"] == "done"


def test_states_and_who_may_set_them(planned: World, ledger: bytes) -> None:
    def set_state(state: str, user: str | None = "alice") -> int:
        body = {"state": state}
        return int(planned.ask("POST", f"{RUN}/state", user, json=body).status_code)

    assert set_state("running", None) == 401
    assert set_state("running", "bob") == 403
    assert set_state("flying") == 400
    assert set_state("stopped") == 200 and set_state("running") == 200
    assert send(planned, ledger).status_code == 200
    assert planned.ask("GET", f"{RUN}/state").json()["state"] == "done"
    assert set_state("running") == 409
    assert tell(planned, [{"round": 9, "values": {"loss": 1.0}}]).status_code == 409


def test_a_private_run_is_nobodys_business(
    world: World, joint: Joint, recipe: str, ledger: bytes
) -> None:
    register(world, "bob", key_of(joint, "ben").public)
    assert plan(world, recipe, private=True).status_code == 201
    assert send(world, ledger).status_code == 200
    for path in ("state", "progress", "ledger", "lineage"):
        assert world.ask("GET", f"{RUN}/{path}", "bob").status_code == 404
        assert world.ask("GET", f"{RUN}/{path}").status_code == 401
    assert world.ask("GET", "/api/members/bob").json()["contributions"]["runs"] == 0
    assert world.ask("GET", "/api/members/bob", "alice").json()["contributions"]["runs"] == 1
