"""Public keys: added by who holds them, revoked, replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmos.hub.accounts.keys import add_key, key_challenge, keys_of, revoke_key
from llmos.hub.accounts.rights import account_row
from llmos.hub.errors import HubError
from llmos.provenance.signing import SigningKey, generate_key, sign

HERE = "https://hub.example.org"


@pytest.fixture
def alice(world: Any) -> Any:
    with world.hub.database.read() as connection:
        return account_row(connection, "alice")


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return generate_key(tmp_path / "key.pem")


def _proof(world: Any, owner: Any, key: SigningKey, /, **changed: str) -> dict[str, Any]:
    return sign(key, "hub_key", {**key_challenge(world.hub, owner, HERE), **changed})


def test_a_key_is_added_by_who_holds_it(world: Any, alice: Any, key: SigningKey) -> None:
    added = add_key(world.hub, "alice", alice, _proof(world, alice, key), HERE, label="lab")
    assert added == key.public
    with world.hub.database.read() as connection:
        [row] = keys_of(connection, alice.id)
    assert (row.public_key, row.label, row.revoked_at) == (key.public, "lab", None)


def test_proofs_that_prove_nothing(world: Any, alice: Any, key: SigningKey, tmp_path: Path) -> None:
    hub = world.hub
    with hub.database.read() as connection:
        bob = account_row(connection, "bob")
    other = generate_key(tmp_path / "other.pem")
    good = _proof(world, alice, key)
    challenge = good["challenge"]
    tampered = [
        {**good, "signer": other.public},  # another's key
        {**good, "signature": "0" * 128},
        {**good, "account": "bob"},
        {},
        {"signer": key.public},
        sign(key, "update", key_challenge(hub, alice, HERE)),  # signed as something else
        _proof(world, alice, key, hub="https://evil.example"),  # made for another hub
        _proof(world, alice, key, account="bob"),
        _proof(world, bob, key),
        _proof(world, alice, key, more="x"),
        _proof(world, alice, key, challenge=challenge[:-1] + "x"),
        _proof(world, alice, key, challenge="99999999999" + challenge[10:]),
        _proof(world, alice, key, challenge=hub.sign("hub_key", alice.id, seconds=-1)),  # late
        _proof(world, alice, key, challenge=hub.sign("hub_key", bob.id)),
        _proof(world, alice, key, challenge=hub.sign("lfs-put", alice.id)),
    ]
    for number, proof in enumerate(tampered):
        with pytest.raises(HubError) as caught:
            add_key(hub, "alice", alice, proof, HERE)
        assert caught.value.status in (403, 422), number
    with hub.database.read() as connection:
        assert keys_of(connection, alice.id) == []


def test_a_key_belongs_to_one_account_once(world: Any, alice: Any, key: SigningKey) -> None:
    hub = world.hub
    with hub.database.read() as connection:
        bob = account_row(connection, "bob")
    add_key(hub, "alice", alice, _proof(world, alice, key), HERE)
    for account in (alice, bob):
        with pytest.raises(HubError, match="known already"):
            add_key(hub, account.name, account, _proof(world, account, key), HERE)
    with hub.database.write() as connection:
        with pytest.raises(HubError):
            revoke_key(connection, "bob", bob, key.public)  # not theirs
        revoke_key(connection, "alice", alice, key.public)
        with pytest.raises(HubError):
            revoke_key(connection, "alice", alice, key.public)
    with pytest.raises(HubError, match="known already"):  # a revoked one does not come back
        add_key(hub, "alice", alice, _proof(world, alice, key), HERE)


def test_a_key_is_replaced_at_once_or_not_at_all(
    world: Any, alice: Any, key: SigningKey, tmp_path: Path
) -> None:
    hub = world.hub
    new = generate_key(tmp_path / "new.pem")
    with pytest.raises(HubError):
        add_key(hub, "alice", alice, _proof(world, alice, new), HERE, instead_of=key.public)
    with hub.database.read() as connection:
        assert keys_of(connection, alice.id) == []
    add_key(hub, "alice", alice, _proof(world, alice, key), HERE)
    add_key(hub, "alice", alice, _proof(world, alice, new), HERE, instead_of=key.public)
    with hub.database.read() as connection:
        found = {row.public_key: row.revoked_at is None for row in keys_of(connection, alice.id)}
    assert found == {key.public: False, new.public: True}
