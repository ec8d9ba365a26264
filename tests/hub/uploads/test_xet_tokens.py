"""Whom the Xet chunk store lets in, and to what."""

from __future__ import annotations

from tests.hub.uploads.lfs_sender import make_repo
from tests.hub.uploads.xet_sender import CHUNKS, Store, make_shard, make_xorb


def test_chunks_of_another_repository_stay_there(world, store) -> None:
    make_repo(world, "secret", private=True)
    name, body = make_xorb(CHUNKS[:3])
    assert Store(world, "acme/secret").xorb(name, body).status_code == 200
    make_repo(world, "mine", "bob", None)
    mine = Store(world, "bob/mine", "bob")
    shard = make_shard([(name, 0, 3)], CHUNKS[:3])
    assert mine.shard(shard).status_code == 400
    assert Store(world, "bob/mine", "bob").address == mine.address  # as if it were nowhere
    assert mine.xorb(name, body).json() == {"was_inserted": True}
    assert mine.shard(shard).status_code == 200


def test_a_token_is_for_one_repository_and_one_action(world, store) -> None:
    name, body = make_xorb(CHUNKS[:3])
    make_repo(world, "other")
    other = Store(world, "acme/other")
    reader = Store(world, right="read")
    for token in (other.token, reader.token, "x", world.tokens["alice"], store.token[:-1] + "x"):
        assert store.xorb(name, body, token=token).status_code == 401
        assert store.shard(b"", token=token).status_code == 401
    bare = world.client.post(f"{store.address}/v1/xorbs/default/{name}", content=body)
    assert bare.status_code == 401
    assert (
        world.ask(
            "DELETE", "/api/repos/delete", "alice", json={"name": "m", "organization": "acme"}
        ).status_code
        == 200
    )
    assert store.xorb(name, body).status_code == 404
    make_repo(world)
    assert store.xorb(name, body).status_code == 404
    assert Store(world).address != store.address


def test_who_gets_a_token(world, store) -> None:
    make_repo(world, "secret", private=True)

    def status(user, repo="acme/m", kind="write", more="", rev="main"):
        path = f"/api/models/{repo}/xet-{kind}-token/{rev}{more}"
        return world.ask("GET", path, user).status_code

    assert status(None) == 401
    assert status("bob") == 403
    assert status("bob", more="?create_pr=1") == 200
    assert status("bob", rev="refs%2Fpr%2F1") == 200
    assert status(None, kind="read") == 200
    assert status("bob", "acme/secret") == status("bob", "acme/none") == 404
    make_repo(world, "home", sharing="federated")
    assert status("alice", "acme/home") in (403, 200)


def test_what_is_not_offered(world, store) -> None:
    for path in ("/v2/shards", "/v1/xorb-grants", "/v1/chunks/default-merkledb/" + "0" * 64):
        assert store.post(path, b"").status_code == 404
    assert store.post("/v1/telemetry", b"{}").status_code == 200
    assert world.client.post("/v1/telemetry", content=b"{}").status_code == 200
