"""Joint runs over the API, with a real run's recipe and ledger."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update
from tests.hub.api.planning import RUN, commit, key_of, plan, register, send_ledger, tell

from llmos.hub.database.connection import now
from llmos.hub.database.tables import keys
from llmos.provenance.agreements import agreement
from llmos.provenance.signing import sign
from llmos.recipe import load_recipe

if TYPE_CHECKING:
    from tests.conftest import Joint
    from tests.hub.conftest import World


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


def test_states_and_who_may_set_them(planned: World, ledger: bytes) -> None:
    def set_state(state: str, user: str | None = "alice") -> int:
        body = {"state": state}
        return int(planned.ask("POST", f"{RUN}/state", user, json=body).status_code)

    assert set_state("running", None) == 401
    assert set_state("running", "bob") == 403
    assert set_state("flying") == 400
    assert set_state("stopped") == 200 and set_state("running") == 200
    assert send_ledger(planned, ledger).status_code == 200
    assert planned.ask("GET", f"{RUN}/state").json()["state"] == "done"
    assert set_state("running") == 409
    assert tell(planned, [{"round": 9, "values": {"loss": 1.0}}]).status_code == 409


def test_a_private_run_is_nobodys_business(
    world: World, joint: Joint, recipe: str, ledger: bytes
) -> None:
    register(world, "bob", key_of(joint, "ben").public)
    assert plan(world, recipe, private=True).status_code == 201
    assert send_ledger(world, ledger).status_code == 200
    for path in ("state", "progress", "ledger", "lineage"):
        assert world.ask("GET", f"{RUN}/{path}", "bob").status_code == 404
        assert world.ask("GET", f"{RUN}/{path}").status_code == 401
    assert world.ask("GET", "/api/members/bob").json()["contributions"]["runs"] == 0
    assert world.ask("GET", "/api/members/bob", "alice").json()["contributions"]["runs"] == 1
