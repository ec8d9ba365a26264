"""Tokens: what they may be, how they are kept, whose they are."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from llmos.hub.accounts import tokens
from llmos.hub.database.tables import tokens as tokens_table


@pytest.mark.parametrize(
    ("about", "status"),
    [
        ({"label": ""}, 422),
        ({"label": "x" * 101}, 422),
        ({"label": "a\nb"}, 422),
        ({"label": "a\u202eb"}, 422),
        ({"scope": "all"}, 400),
        ({"scope": "fineGrained"}, 422),
        ({"scope": "write", "repos": ["acme/x"]}, 422),
        ({"scope": "fineGrained", "repos": ["a/b/c"]}, 400),
        ({"scope": "fineGrained", "repos": ["../x"]}, 400),
        ({"scope": "fineGrained", "repos": ["acme/x"] * 101}, 422),
        ({"days": 0}, 422),
        ({"days": 5000}, 422),
        ({"value": "short"}, 400),
    ],
)
def test_odd_tokens_are_refused(desk: Any, about: dict[str, Any], status: int) -> None:
    given = {"label": "x", "scope": "read", **about}
    desk.refused(status, desk.write, tokens.add_token, "alice", desk.row("alice"), **given)


def test_tokens_are_kept_as_hashes_and_are_their_owners(desk: Any) -> None:
    alice, bob = desk.row("alice"), desk.row("bob")
    given = {"label": "ci", "scope": "fineGrained", "repos": ["Acme/X"], "days": 3}
    secret = desk.write(tokens.add_token, "alice", alice, **given)
    with desk.hub.database.read() as connection:
        newest = tokens.tokens_of(connection, alice.id)[0]
        everything = str(connection.execute(select(tokens_table)).all())
    assert secret.startswith("hf_") and len(secret) == 51 and secret not in everything
    assert (newest.label, newest.repos) == ("ci", ["acme/x"])
    assert newest.expires_at - newest.created_at == pytest.approx(3 * 86_400_000, abs=5)
    desk.refused(404, desk.write, tokens.revoke_token, "bob", bob, newest.id)
    desk.write(tokens.revoke_token, "alice", alice, newest.id)
    desk.refused(404, desk.write, tokens.revoke_token, "alice", alice, newest.id)
