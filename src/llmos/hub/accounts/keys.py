"""The Ed25519 keys of members: with them they sign updates, ledgers and results.

Who adds a key proves to hold it: by signing, as kind `hub_key`, an object with the hub's address,
the account's name and a challenge of this hub. So nobody can take another's key for their own, and
a proof made for one hub is of no use at another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from llmos.errors import SignatureError
from llmos.hub.accounts import audit, texts
from llmos.hub.database.connection import now
from llmos.hub.database.tables import keys
from llmos.hub.errors import HubError, conflict, unprocessable
from llmos.hub.hub import Hub
from llmos.provenance.agreements import HUB_KEY
from llmos.provenance.signing import verify

PROOF_LIFETIME = 600  # seconds
MOST = 100  # of one account


def key_challenge(hub: Hub, account: Row[Any], address: str) -> dict[str, str]:
    """What has to be signed to add a key to `account`, within ten minutes, at the hub `address`."""
    signed = hub.sign(HUB_KEY, account.id, seconds=PROOF_LIFETIME)
    return {"hub": address, "account": account.name, "challenge": signed}


def add_key(
    hub: Hub,
    actor: str,
    account: Row[Any],
    proof: dict[str, Any],
    address: str,
    *,
    label: str = "",
    instead_of: str | None = None,
) -> str:
    """Add the key that signed `proof` (see `key_challenge`) and return it; `instead_of` is a key of
    the account that is revoked at once (rotation).

    Raises `HubError` 422 for a proof that does not hold, 403 when it is late, 409 when the key is
    known already (also a revoked one), 404 when `instead_of` is not there.
    """
    try:
        body = verify(HUB_KEY, proof)
    except SignatureError as error:
        raise unprocessable(str(error)) from None
    if body.get("hub") != address or body.get("account") != account.name or len(body) != 3:
        raise unprocessable(f"The proof must be about {account.name} at {address}")
    hub.check_signature(str(body.get("challenge")), HUB_KEY, account.id)
    label = texts.line(label, "label", 100)
    public: str = proof["signer"]
    with hub.database.write() as connection:
        if connection.execute(select(keys.c.id).where(keys.c.public_key == public)).first():
            raise conflict("That key is known already: each belongs to one account, once")
        count = select(func.count()).where(keys.c.account_id == account.id)
        if connection.execute(count).scalar_one() >= MOST:
            raise conflict(f"{account.name} has {MOST} keys")
        row = {"account_id": account.id, "public_key": public, "label": label, "created_at": now()}
        connection.execute(keys.insert(), row)
        audit.record(connection, actor, "key.add", account.name, key=public)
        if instead_of:
            revoke_key(connection, actor, account, instead_of)
    return public


def keys_of(connection: Connection, account_id: int) -> Sequence[Row[Any]]:
    """All keys of an account, the revoked ones too: what they signed before stays checkable."""
    return connection.execute(
        select(keys).where(keys.c.account_id == account_id).order_by(keys.c.id)
    ).all()


def revoke_key(connection: Connection, actor: str, account: Row[Any], public: str) -> None:
    """From now on a key signs nothing for the account; it stays listed. Raises `HubError` 404."""
    revoked = (
        update(keys)
        .where(
            keys.c.account_id == account.id,
            keys.c.public_key == public,
            keys.c.revoked_at.is_(None),
        )
        .values(revoked_at=now())
    )
    if connection.execute(revoked).rowcount == 0:
        raise HubError(404, "There is no such key, or it is revoked already")
    audit.record(connection, actor, "key.revoke", account.name, key=public)
