"""Signing in, while passwords and parameters change."""

from __future__ import annotations

from typing import Any

import argon2
import pytest
from sqlalchemy import func, select, update

from llmos.hub.accounts import sessions
from llmos.hub.database.tables import accounts
from llmos.hub.database.tables import sessions as sessions_table

PASSWORD = "correct horse battery"


def test_older_parameters_are_replaced_when_one_signs_in(desk: Any) -> None:
    alice = desk.row("alice")
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD)
    desk.write(
        lambda c: c.execute(
            update(accounts).where(accounts.c.id == alice.id).values(password=weak)
        ),
    )
    sessions.sign_in(desk.hub, "alice", PASSWORD)
    assert desk.row("alice").password != weak
    sessions.sign_in(desk.hub, "alice", PASSWORD)


def test_a_password_changed_while_somebody_signs_in_with_the_old_one(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = desk.row("alice")
    sessions.set_password(desk.hub, "test", alice, PASSWORD)
    matches = sessions.matches

    def slowly(kept: Any, password: str) -> bool:
        right = matches(kept, password)
        sessions.set_password(desk.hub, "alice", alice, "the new password")
        return right

    monkeypatch.setattr(sessions, "matches", slowly)
    desk.refused(401, sessions.sign_in, desk.hub, "alice", PASSWORD)
    with desk.hub.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(sessions_table)).scalar() == 0


def test_an_organisation_cannot_sign_in(desk: Any) -> None:
    desk.refused(401, sessions.sign_in, desk.hub, "acme", PASSWORD)
