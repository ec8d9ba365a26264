"""Signed results: taken in once, marked, ranked; nobody learns of a private model by them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update

from llmos.evaluation.leaderboard import UNKNOWN_SIGNER, tables
from llmos.hub.accounts.rights import Caller, account_row, roles_of
from llmos.hub.database.connection import now
from llmos.hub.database.tables import keys, repos, results
from llmos.hub.repos import changes, content, edits, making
from llmos.hub.runs.board import OTHER_FILES, REVOKED
from llmos.metrics.score import Score
from llmos.provenance.results import model_digest
from llmos.provenance.signing import SigningKey, generate_key, sign
from llmos.storage import sha256_hex

if TYPE_CHECKING:
    from tests.hub.conftest import World

FILES = {"config.json": b"{}", "model.safetensors": b"weights", "README.md": b"# Hi\n"}
DIGEST = model_digest({name: sha256_hex(content) for name, content in FILES.items()})


def body(name: str, value: float, half: float = 0.01, sha256: str = "") -> dict[str, Any]:
    score = Score("accuracy", value, value - half, value + half, 100, "", "Wilson 0.95", (1.0, 2.0))
    part = {
        "name": "say", "task": "completion", "dataset": "sums", "spec": {}, "data_sha256": "d",
        "n": 100, "how": "prompt", "rows_sha256": "",
        "scores": [{**score.to_json(), "key": "accuracy", "higher_is_better": True}],
    }  # fmt: skip
    return {
        "version": 1, "suite": {"name": "sums", "version": 1, "sha256": "s"},
        "model": {"name": name, "kind": "folder", "links": {}, "sha256": sha256},
        "code": {}, "seed": 0, "hardware": {}, "settings": {}, "of": [], "benchmarks": [part],
    }  # fmt: skip


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return generate_key(tmp_path / "key.pem")


def caller(world: World, name: str) -> Caller:
    with world.hub.database.read() as connection:
        row = account_row(connection, name)
        assert row is not None
        return Caller(id=row.id, name=name, scope="write", roles=roles_of(connection, row.id))


def make_model(world: World, name: str, files: dict[str, bytes] = FILES, **more: Any) -> Any:
    return making.make_repo(world.hub, caller(world, "alice"), "model", name, files=files, **more)


def register(world: World, name: str, public: str) -> None:
    with world.hub.database.write() as connection:
        account = account_row(connection, name)
        assert account is not None
        row = {"account_id": account.id, "public_key": public, "created_at": now()}
        connection.execute(keys.insert(), row)


def post(world: World, signed: Any, user: str | None = "bob") -> Any:
    content = signed if isinstance(signed, bytes) else json.dumps(signed)
    return world.ask("POST", "/api/results", user, content=content)


def test_a_result_is_kept_once_and_linked_by_hash(world: World, key: SigningKey) -> None:
    make_model(world, "acme/small")
    signed = sign(key, "result", body("anything", 0.5, sha256=DIGEST))
    first = post(world, signed)
    assert first.status_code == 201 and first.json()["repository"] == "acme/small"
    assert first.json()["state"] == "unverifiable" and first.json()["signer"]["account"] is None
    again = post(world, json.dumps(signed, indent=3).encode(), "alice")
    assert again.status_code == 200 and again.json()["sha256"] == first.json()["sha256"]
    assert len(world.ask("GET", "/api/results").json()) == 1
    shown = world.ask("GET", f"/api/results/{first.json()['sha256']}").json()
    assert shown["record"] == signed  # anybody can check it again


def test_a_known_signer_is_named_until_the_key_is_revoked(world: World, key: SigningKey) -> None:
    register(world, "bob", key.public)
    assert post(world, sign(key, "result", body("acme/a", 0.5))).json()["state"] == "verified"
    (table,) = world.ask("GET", "/api/leaderboard").json()["tables"]
    assert table["entries"][0]["signer"]["account"] == "bob"
    assert UNKNOWN_SIGNER not in table["entries"][0]["marks"]
    with world.hub.database.write() as connection:
        mine = keys.c.public_key == key.public
        connection.execute(update(keys).where(mine).values(revoked_at=now()))
        connection.execute(update(results).values(created_at=now() - 60_000))
    late = post(world, sign(key, "result", body("acme/b", 0.6))).json()
    assert late["state"] == "unverifiable" and late["marks"] == [REVOKED]
    listed = {one["model"]: one["marks"] for one in world.ask("GET", "/api/results").json()}
    assert listed == {"acme/a": [], "acme/b": [REVOKED]}  # what was signed before stands


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r["benchmarks"][0]["scores"][0].update(value=0.99),  # changed after signing
        lambda r: r.pop("signature"),
        lambda r: r.update(signature="0" * 128),
        lambda r: r.update(signer="f" * 64),
    ],
)
def test_a_tampered_result_is_refused(world: World, key: SigningKey, change: Any) -> None:
    signed = json.loads(json.dumps(sign(key, "result", body("acme/a", 0.5))))
    change(signed)
    assert post(world, signed).status_code == 400
    assert world.ask("GET", "/api/results").json() == []


@pytest.mark.parametrize(
    "change",
    [
        {"version": 99},
        {"benchmarks": 5},
        {"benchmarks": [5]},
        {"benchmarks": [{"name": "x"}]},
        {"model": {"name": 3, "sha256": "", "links": {}}},
        {"model": {"name": "x", "sha256": "", "links": {"card": 1}}},
        {"model": {"name": "x" * 600, "sha256": "", "links": {}}},
        {"model": None},
        {"settings": []},
        {"contamination": {"benchmarks": {"say": 1}}},
    ],
)
def test_a_signed_record_of_another_shape_is_refused(
    world: World, key: SigningKey, change: dict[str, Any]
) -> None:
    signed = sign(key, "result", {**body("acme/a", 0.5), **change})
    assert post(world, signed).status_code == 400
    assert world.ask("GET", "/api/leaderboard").status_code == 200


def test_what_is_no_result_is_refused(world: World, key: SigningKey) -> None:
    for bad in (b"", b"[]", b"\xff", b"{}", b"[" * 100_000):
        assert post(world, bad).status_code == 400
    assert post(world, b" " * (2 << 20)).status_code == 413
    assert post(world, sign(key, "result", body("a/b", 0.5)), None).status_code == 401


def test_results_in_a_models_repository_are_harvested(world: World, key: SigningKey) -> None:
    own = sign(key, "result", body("tiny", 0.5, sha256=DIGEST))
    others = sign(key, "result", body("tiny", 0.9, sha256="0" * 64))
    bad = {**own, "seed": 1}
    entries = {
        f"results/{name}.json": content.keep_bytes(world.hub, json.dumps(record).encode())
        for name, record in (("own", own), ("others", others), ("bad", bad))
    }
    repo = make_model(world, "acme/small")
    made = edits.Changes("results", added=entries)
    changes.commit(world.hub, caller(world, "alice"), repo, "main", made)
    (found,) = world.ask("GET", "/api/results?model=acme/small").json()
    assert found["model_sha256"] == DIGEST and found["repository"] == "acme/small"


def test_the_leaderboard_shares_places_and_goes_out_as_csv(world: World, key: SigningKey) -> None:
    for name, value in (("a/one", 0.90), ("a/two", 0.895), ("=cmd|x", 0.5)):
        assert post(world, sign(key, "result", body(name, value))).status_code == 201
    (table,) = world.ask("GET", "/api/leaderboard?task=completion&dataset=sums").json()["tables"]
    assert [(e["place"], e["model"]) for e in table["entries"]] == [
        (1, "a/one"),
        (1, "a/two"),
        (3, "=cmd|x"),
    ]
    assert world.ask("GET", "/api/leaderboard?task=other").json()["tables"] == []
    text = world.ask("GET", "/api/leaderboard?format=csv").text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["place"], row["model"]) for row in rows] == [
        ("1", "a/one"),
        ("1", "a/two"),
        ("3", "'=cmd|x"),
    ]
    assert world.ask("GET", "/api/leaderboard?format=xls").status_code == 400


def test_a_leaderboard_is_made_once_until_what_it_shows_changes(
    world: World, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def counted(*given: Any) -> Any:
        made.append(1)
        return tables(*given)

    monkeypatch.setattr("llmos.hub.runs.board.tables", counted)

    def shown(user: str | None = None) -> list[tuple[str, str | None, str | None]]:
        found = world.ask("GET", "/api/leaderboard", user).json()["tables"]
        return [
            (entry["model"], entry["repository"], entry["signer"]["account"])
            for table in found
            for entry in table["entries"]
        ]

    repo = make_model(world, "acme/tiny")
    post(world, sign(key, "result", body("tiny", 0.5, sha256=DIGEST)))
    assert shown() == shown("bob") == [("tiny", "acme/tiny", None)]
    make_model(world, "acme/another")  # is in no table
    assert shown() == [("tiny", "acme/tiny", None)] and len(made) == 1
    register(world, "bob", key.public)
    assert shown() == [("tiny", "acme/tiny", "bob")] and len(made) == 2
    making.move_repo(world.hub, caller(world, "alice"), repo, "acme/small")
    assert shown() == [("tiny", "acme/small", "bob")] and len(made) == 3
    private = {"private": True}
    assert world.ask("PUT", "/api/models/acme/small/settings", "alice", json=private).is_success
    assert (shown(), shown("bob")) == ([], [])
    assert shown("alice") == [("tiny", "acme/small", "bob")]
    post(world, sign(key, "result", body("other", 0.7)))
    assert [one[0] for one in shown("alice")] == ["other", "tiny"]
    assert [one[0] for one in shown("bob")] == ["other"]


def test_results_of_a_private_model_are_for_its_readers(world: World, key: SigningKey) -> None:
    make_model(world, "acme/secret", private=True)
    signed = sign(key, "result", body("acme/secret", 0.5, sha256=DIGEST))
    sent = post(world, signed, "alice").json()
    assert sent["repository"] == "acme/secret"
    for user in (None, "bob"):
        assert world.ask("GET", "/api/results", user).json() == []
        assert world.ask("GET", f"/api/results/{sent['sha256']}", user).status_code == 404
        assert world.ask("GET", "/api/leaderboard", user).json()["tables"] == []
        hidden = world.ask("GET", "/api/results?model=acme/secret", user)
        assert hidden.status_code == (404 if user else 401)
    assert len(world.ask("GET", "/api/leaderboard", "alice").json()["tables"]) == 1
    again = post(world, signed, "bob").json()
    assert again == {"sha256": sent["sha256"], "new": False}  # and no word of the model
    # Whoever may not see the model does not learn of it by sending a result of its own.
    other = post(world, sign(key, "result", body("acme/secret", 0.6)), "bob").json()
    assert other["repository"] is None
    with world.hub.database.read() as connection:
        repo = connection.execute(select(repos).where(repos.c.name_key == "acme/secret")).one()
    making.delete_repo(world.hub, caller(world, "alice"), repo)
    assert [one["model"] for one in world.ask("GET", "/api/results").json()] == ["acme/secret"]


def test_a_public_result_is_not_hidden_by_anothers_private_copy(
    world: World, key: SigningKey
) -> None:
    signed = sign(key, "result", body("tiny", 0.5, sha256=DIGEST))
    assert post(world, signed).status_code == 201
    files = {**FILES, "results/x.json": json.dumps(signed).encode()}
    make_model(world, "acme/copy", files, private=True)
    assert len(world.ask("GET", "/api/results").json()) == 1


def test_a_result_of_other_files_is_marked(world: World, key: SigningKey) -> None:
    make_model(world, "acme/small")
    sent = post(world, sign(key, "result", body("acme/small", 0.5, sha256="1" * 64))).json()
    assert sent["repository"] == "acme/small" and sent["marks"] == [OTHER_FILES]


def test_the_command_ranks_what_a_hub_shows(
    world: World, live: str, key: SigningKey, llmos: Any
) -> None:
    register(world, "bob", key.public)
    for number in range(23):  # more than a page
        sent = sign(key, "result", body(f"a/m{number}", 0.3 + number / 50))
        assert post(world, sent).status_code == 201
    code, printed, error = llmos("leaderboard", live)
    assert code == 0, error
    assert printed.count("signed by bob") == 23 and "a/m22, signed by bob" in printed
    with world.hub.database.write() as connection:  # a hub that lies is found out
        row = connection.execute(select(results).limit(1)).one()
        false = {**row.record, "seed": 7}
        connection.execute(update(results).where(results.c.id == row.id).values(record=false))
    code, printed, error = llmos("leaderboard", live)
    assert code == 1 and "refused" in error
    code, _, error = llmos("leaderboard", "http://127.0.0.1:9")
    assert code == 2 and "gives no results" in error
