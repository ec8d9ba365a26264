"""Joining by invitation, and invitations that are no good any more."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import update

from llmos.hub.accounts import invitations, joining, organisations, people, sessions
from llmos.hub.accounts.rights import account_row
from llmos.hub.database.connection import now
from llmos.hub.database.tables import invitations as invitations_table
from llmos.hub.errors import HubError

PASSWORD = "correct horse battery"


def test_one_joins_by_invitation(desk: Any) -> None:
    assert "invitation" in desk.refused(403, joining.sign_up, desk.hub, "carol", PASSWORD)
    desk.refused(404, joining.sign_up, desk.hub, "carol", PASSWORD, code="made-up")
    root, acme = desk.row("root"), desk.row("acme")
    by = desk.row("alice").id
    code = desk.write(invitations.invite, "alice", by=by, org=acme, role="maintainer")
    made = joining.sign_up(desk.hub, "carol", PASSWORD, code=code, full_name="Carol C.")
    assert (made.name, desk.row("carol").full_name) == ("carol", "Carol C.")
    with desk.hub.database.read() as connection:
        roles = {row.name: row.role for row in organisations.members_of(connection, acme.id)}
    assert roles == {"alice": "admin", "carol": "maintainer"}
    desk.refused(404, joining.sign_up, desk.hub, "dora", PASSWORD, code=code)  # used
    code = desk.write(invitations.invite, "root", by=root.id)
    joining.sign_up(desk.hub, "dora", PASSWORD, code=code)
    assert sessions.sign_in(desk.hub, "DORA", PASSWORD).name == "dora"


def test_a_failed_sign_up_leaves_the_invitation_and_no_account(desk: Any) -> None:
    code = desk.write(invitations.invite, "root", by=None)
    desk.refused(409, joining.sign_up, desk.hub, "alice", PASSWORD, code=code)
    desk.refused(422, joining.sign_up, desk.hub, "carol", "short", code=code)
    desk.refused(422, joining.sign_up, desk.hub, "carol", PASSWORD, code=code, email="no address")
    with desk.hub.database.read() as connection:
        assert account_row(connection, "carol") is None
        assert invitations.invitation(connection, code).org is None


def test_an_invitation_expires_and_can_be_taken_back(desk: Any) -> None:
    acme = desk.row("acme")
    code = desk.write(invitations.invite, "alice", by=None, org=acme)
    with desk.hub.database.read() as connection:
        [shown] = invitations.open_invitations(connection, acme.id)
        assert invitations.open_invitations(connection, None) == []
    assert code not in str(shown)
    desk.refused(404, desk.write, invitations.withdraw, "root", None, shown.id)  # another's
    desk.write(invitations.withdraw, "alice", acme, shown.id)
    desk.refused(404, desk.write, invitations.accept, desk.row("bob"), code)
    code = desk.write(invitations.invite, "alice", by=None, org=acme)
    desk.write(lambda c: c.execute(update(invitations_table).values(expires_at=now() - 1)))
    desk.refused(404, desk.write, invitations.accept, desk.row("bob"), code)


def test_an_invitation_ends_with_its_senders_role(desk: Any) -> None:
    """An admin who was put out cannot come back in by an invitation kept for that."""
    acme, alice, bob = desk.row("acme"), desk.row("alice"), desk.row("bob")
    desk.write(people.set_role, "root", acme, bob, "admin")
    code = desk.write(invitations.invite, "alice", by=alice.id, org=acme, role="admin")
    desk.write(organisations.remove_member, "bob", acme, alice)
    desk.refused(404, desk.write, invitations.accept, alice, code)


def test_an_invitation_never_takes_a_role_away(desk: Any) -> None:
    acme, alice = desk.row("acme"), desk.row("alice")
    code = desk.write(invitations.invite, "root", by=None, org=acme, role="reader")
    desk.write(invitations.accept, alice, code)
    with desk.hub.database.read() as connection:
        assert [row.role for row in organisations.members_of(connection, acme.id)] == ["admin"]


def test_an_invitation_is_used_once_by_whoever_is_first(desk: Any) -> None:
    acme = desk.row("acme")
    code = desk.write(invitations.invite, "root", by=None, org=acme)
    rows = [desk.row(name) for name in ("bob", "root")]
    outcomes: list[Any] = []

    def use(row: Any) -> None:
        try:
            outcomes.append(desk.write(invitations.accept, row, code).role)
        except HubError as error:
            outcomes.append(error.status)

    threads = [threading.Thread(target=use, args=(row,)) for row in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == ["404", "reader"]


@pytest.mark.parametrize("about", [{"role": "owner"}, {"days": 0}, {"days": 91}, {"email": "x"}])
def test_odd_invitations_are_refused(desk: Any, about: dict[str, Any]) -> None:
    with pytest.raises(HubError) as caught:
        desk.write(invitations.invite, "root", by=None, **about)
    assert caught.value.status in (400, 422)
