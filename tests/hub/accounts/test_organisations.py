"""Organisations: who is in them, and when they end."""

from __future__ import annotations

from typing import Any

import pytest

from llmos.hub.accounts import organisations, people, profiles, standing
from llmos.hub.accounts.rights import Caller
from llmos.hub.errors import HubError
from llmos.hub.repos import making


def test_an_organisation_always_has_an_admin(desk: Any) -> None:
    acme, alice, bob = desk.row("acme"), desk.row("alice"), desk.row("bob")
    desk.refused(409, desk.write, organisations.remove_member, "alice", acme, alice)
    desk.refused(409, desk.write, people.set_role, "alice", acme, alice, "reader")
    desk.refused(409, desk.write, standing.delete_user, "alice", alice)
    desk.write(people.set_role, "alice", acme, bob, "admin")
    desk.write(standing.disable, "root", bob)
    desk.refused(409, desk.write, organisations.remove_member, "alice", acme, alice)
    desk.write(standing.enable, "root", bob)
    desk.write(organisations.remove_member, "alice", acme, alice)
    desk.refused(404, desk.write, organisations.remove_member, "alice", acme, alice)
    desk.refused(409, desk.write, organisations.remove_member, "bob", acme, bob)


def test_organisations_do_not_join_organisations(desk: Any) -> None:
    acme = desk.row("acme")
    other = desk.write(organisations.make_organisation, desk.row("bob"), "other")
    desk.refused(400, desk.write, people.set_role, "bob", other, acme, "reader")
    desk.refused(
        400, desk.write, people.set_role, "bob", desk.row("bob"), desk.row("root"), "reader"
    )
    desk.refused(400, desk.write, people.set_role, "bob", other, desk.row("root"), "owner")


def test_an_organisation_is_dissolved_only_without_repositories(desk: Any) -> None:
    acme, alice = desk.row("acme"), desk.row("alice")
    caller = Caller(id=alice.id, name="alice", scope="write", roles={acme.id: "admin"})
    repo = making.make_repo(desk.hub, caller, "model", "acme/x")
    desk.refused(409, desk.write, organisations.delete_organisation, "alice", acme)
    making.delete_repo(desk.hub, caller, repo)
    desk.write(organisations.delete_organisation, "alice", acme)
    with desk.hub.database.read() as connection, pytest.raises(HubError):
        profiles.active_account(connection, "acme")
    desk.refused(409, desk.write, people.make_account, "bob", "Acme")  # the name stays taken
