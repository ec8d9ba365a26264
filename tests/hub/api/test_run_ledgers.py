"""Ledgers of joint runs, sent and committed: grown, damaged, rewritten, another's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select
from tests.hub.api.planning import RUN, commit, plan, send_ledger

from llmos.hub.accounts.audit import broken_entries
from llmos.hub.database.tables import audit
from llmos.provenance.ledger import Ledger
from llmos.provenance.signing import generate_key, load_key

if TYPE_CHECKING:
    from tests.conftest import Joint
    from tests.hub.conftest import World


def test_a_ledger_is_verified_and_finishes_the_run(
    planned: World, joint: Joint, ledger: bytes
) -> None:
    found = send_ledger(planned, ledger).json()
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
    begun = send_ledger(planned, half).json()
    assert begun["verified"] and not begun["finished"]
    assert "not closed" in "\n".join(begun["cannot_prove"])
    assert send_ledger(planned, half).status_code == 200  # the same again
    assert send_ledger(planned, b"".join(lines[:3])).status_code == 409  # cut
    assert send_ledger(planned, b"".join(lines[len(lines) // 2 + 1 :])).status_code == 409  # a gap
    rest = send_ledger(planned, b"".join(lines[len(lines) // 2 :]))  # only what is new
    assert rest.status_code == 200 and rest.json()["finished"]
    assert planned.ask("GET", f"{RUN}/ledger").content == ledger
    assert send_ledger(planned, half).status_code == 409


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
    assert send_ledger(planned, bad).status_code == 422
    assert planned.ask("GET", f"{RUN}/ledger").status_code == 404
    assert send_ledger(planned, ledger).json()["verified"]


def test_another_coordinators_history_is_no_continuation(
    planned: World, joint: Joint, ledger: bytes, tmp_path: Path
) -> None:
    opened = json.loads(ledger.splitlines()[0])
    other = Ledger.create(tmp_path / "other.jsonl", generate_key(tmp_path / "key.pem"))
    other.append("run_opened", opened["body"])
    assert send_ledger(planned, ledger).status_code == 200
    assert send_ledger(planned, (tmp_path / "other.jsonl").read_bytes()).status_code == 409


def test_a_ledger_of_another_recipe_is_refused(world: World, recipe: str, ledger: bytes) -> None:
    assert plan(world, recipe.replace("seed = 0", "seed = 7", 1)).status_code == 201
    assert send_ledger(world, ledger).status_code == 409


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
    found = send_ledger(planned, (tmp_path / "forged.jsonl").read_bytes())
    assert found.status_code == 200 and found.json()["verified"] is False
    shown = planned.ask("GET", f"{RUN}/state").json()
    assert shown["ledger"]["verified"] is False
    assert any("mean does not follow" in line for line in shown["ledger"]["verdict"])
    assert all(m["tokens"] == 0 for m in shown["members"])


def test_ledgers_are_for_writers(planned: World, ledger: bytes) -> None:
    assert send_ledger(planned, ledger, None).status_code == 401
    assert send_ledger(planned, ledger, "bob").status_code == 403


def test_a_commit_cannot_rewrite_the_ledger_and_is_checked_on_demand(
    planned: World, ledger: bytes
) -> None:
    lines = ledger.splitlines(keepends=True)
    half = b"".join(lines[: len(lines) // 2])
    assert send_ledger(planned, half).status_code == 200
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
