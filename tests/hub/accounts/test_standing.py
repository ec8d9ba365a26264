"""Accounts that are kept out or deleted, and admins of the hub."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import func, select

from llmos.hub.accounts import people, sessions, standing
from llmos.hub.database.tables import audit as log
from llmos.hub.database.tables import memberships
from llmos.hub.database.tables import sessions as sessions_table
from llmos.hub.database.tables import tokens as tokens_table

PASSWORD = "correct horse battery"


def test_a_deleted_user_leaves_the_name_and_nothing_else(desk: Any) -> None:
    desk.write(people.make_account, "test", "carol", email="c@example.org", full_name="Carol")
    carol = desk.row("carol")
    sessions.set_password(desk.hub, "test", carol, PASSWORD)
    sessions.sign_in(desk.hub, "carol", PASSWORD)
    secret = desk.write(people.make_token, "test", carol)
    desk.write(people.set_role, "test", desk.row("acme"), carol, "reader")
    desk.write(standing.delete_user, "carol", carol)
    gone = desk.row("carol")
    assert (gone.full_name, gone.email, gone.password, gone.admin) == ("", "", None, False)
    with desk.hub.database.read() as connection:
        for table, column in (
            (tokens_table, tokens_table.c.account_id),
            (sessions_table, sessions_table.c.account_id),
            (memberships, memberships.c.user_id),
        ):
            count = select(func.count()).select_from(table).where(column == carol.id)
            assert connection.execute(count).scalar_one() == 0
        entries = json.dumps([list(map(str, row)) for row in connection.execute(select(log))])
    assert secret not in entries and "example.org" not in entries and PASSWORD not in entries
    desk.refused(409, desk.write, people.make_account, "test", "carol")
    desk.refused(401, sessions.sign_in, desk.hub, "carol", PASSWORD)


def test_the_hub_always_has_an_admin(desk: Any) -> None:
    root = desk.row("root")
    desk.refused(409, desk.write, standing.disable, "root", root)
    desk.refused(409, desk.write, standing.delete_user, "root", root)
    desk.refused(409, desk.write, standing.set_hub_admin, "root", root, False)
    desk.refused(409, desk.write, standing.set_hub_admin, "root", desk.row("acme"), True)
    desk.write(standing.set_hub_admin, "root", desk.row("bob"), True)
    desk.write(standing.disable, "root", root)
    desk.refused(409, desk.write, standing.set_hub_admin, "root", desk.row("bob"), False)
