"""Accounts, organisations, invitations, tokens: what the services allow and what they refuse."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import argon2
import pytest
from sqlalchemy import func, select, update

from llmos.hub.accounts import (
    audit,
    invitations,
    joining,
    organisations,
    people,
    profiles,
    sessions,
    standing,
    tokens,
)
from llmos.hub.accounts.rights import Caller, account_row
from llmos.hub.database.connection import now
from llmos.hub.database.tables import (
    accounts,
    memberships,
)
from llmos.hub.database.tables import audit as log
from llmos.hub.database.tables import invitations as invitations_table
from llmos.hub.database.tables import sessions as sessions_table
from llmos.hub.database.tables import tokens as tokens_table
from llmos.hub.errors import HubError
from llmos.hub.repos import making

PASSWORD = "correct horse battery"


@pytest.fixture
def hub(world: Any) -> Iterator[Any]:
    """alice (admin of acme), bob, root (admin of the hub)."""
    yield world.hub


def _row(hub: Any, name: str) -> Any:
    with hub.database.read() as connection:
        row = account_row(connection, name)
    assert row is not None
    return row


def _refused(status: int, function: Callable[..., Any], *about: Any, **more: Any) -> str:
    with pytest.raises(HubError) as caught:
        function(*about, **more)
    assert caught.value.status == status, caught.value
    return caught.value.message


def _write(hub: Any, function: Callable[..., Any], *about: Any, **more: Any) -> Any:
    with hub.database.write() as connection:
        return function(connection, *about, **more)


# --- names
@pytest.mark.parametrize(
    "name",
    [
        "Alice",  # alice is there
        "\u0430lice",  # Cyrillic a
        "al\u0131ce",  # dotless i
        "\uff41lice",  # full width
        "ali\u00adce",  # soft hyphen
        "alice\u200b",
        "alice ",
        "",
        "a" * 97,
        "a/b",
        "..",
        "-a",
        "api",
        "LOGIN",
        "x.git",
    ],
)
def test_names_that_are_taken_look_alike_or_mean_something_else(hub: Any, name: str) -> None:
    with pytest.raises(HubError) as caught:
        _write(hub, people.make_account, "test", name)
    assert caught.value.status in (400, 409)


# --- joining
def test_one_joins_by_invitation(hub: Any) -> None:
    assert "invitation" in _refused(403, joining.sign_up, hub, "carol", PASSWORD)
    _refused(404, joining.sign_up, hub, "carol", PASSWORD, code="made-up")
    root, acme = _row(hub, "root"), _row(hub, "acme")
    code = _write(
        hub, invitations.invite, "alice", by=_row(hub, "alice").id, org=acme, role="maintainer"
    )
    made = joining.sign_up(hub, "carol", PASSWORD, code=code, full_name="Carol C.")
    assert (made.name, _row(hub, "carol").full_name) == ("carol", "Carol C.")
    with hub.database.read() as connection:
        roles = {row.name: row.role for row in organisations.members_of(connection, acme.id)}
    assert roles == {"alice": "admin", "carol": "maintainer"}
    _refused(404, joining.sign_up, hub, "dora", PASSWORD, code=code)  # used
    code = _write(hub, invitations.invite, "root", by=root.id)
    joining.sign_up(hub, "dora", PASSWORD, code=code)
    assert sessions.sign_in(hub, "DORA", PASSWORD).name == "dora"


def test_a_failed_sign_up_leaves_the_invitation_and_no_account(hub: Any) -> None:
    code = _write(hub, invitations.invite, "root", by=None)
    _refused(409, joining.sign_up, hub, "alice", PASSWORD, code=code)
    _refused(422, joining.sign_up, hub, "carol", "short", code=code)
    _refused(422, joining.sign_up, hub, "carol", PASSWORD, code=code, email="no address")
    with hub.database.read() as connection:
        assert account_row(connection, "carol") is None
        assert invitations.invitation(connection, code).org is None


def test_an_invitation_expires_and_can_be_taken_back(hub: Any) -> None:
    acme = _row(hub, "acme")
    code = _write(hub, invitations.invite, "alice", by=None, org=acme)
    with hub.database.read() as connection:
        [shown] = invitations.open_invitations(connection, acme.id)
        assert invitations.open_invitations(connection, None) == []
    assert code not in str(shown)
    _refused(404, _write, hub, invitations.withdraw, "root", None, shown.id)  # another's
    _write(hub, invitations.withdraw, "alice", acme, shown.id)
    _refused(404, _write, hub, invitations.accept, _row(hub, "bob"), code)
    code = _write(hub, invitations.invite, "alice", by=None, org=acme)
    _write(hub, lambda c: c.execute(update(invitations_table).values(expires_at=now() - 1)))
    _refused(404, _write, hub, invitations.accept, _row(hub, "bob"), code)


def test_an_invitation_ends_with_its_senders_role(hub: Any) -> None:
    """An admin who was put out cannot come back in by an invitation kept for that."""
    acme, alice, bob = _row(hub, "acme"), _row(hub, "alice"), _row(hub, "bob")
    _write(hub, people.set_role, "root", acme, bob, "admin")
    code = _write(hub, invitations.invite, "alice", by=alice.id, org=acme, role="admin")
    _write(hub, organisations.remove_member, "bob", acme, alice)
    _refused(404, _write, hub, invitations.accept, alice, code)


def test_an_invitation_never_takes_a_role_away(hub: Any) -> None:
    acme, alice = _row(hub, "acme"), _row(hub, "alice")
    code = _write(hub, invitations.invite, "root", by=None, org=acme, role="reader")
    _write(hub, invitations.accept, alice, code)
    with hub.database.read() as connection:
        assert [row.role for row in organisations.members_of(connection, acme.id)] == ["admin"]


def test_an_invitation_is_used_once_by_whoever_is_first(hub: Any) -> None:
    acme = _row(hub, "acme")
    code = _write(hub, invitations.invite, "root", by=None, org=acme)
    rows = [_row(hub, name) for name in ("bob", "root")]
    outcomes: list[Any] = []

    def use(row: Any) -> None:
        try:
            outcomes.append(_write(hub, invitations.accept, row, code).role)
        except HubError as error:
            outcomes.append(error.status)

    threads = [threading.Thread(target=use, args=(row,)) for row in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == ["404", "reader"]


@pytest.mark.parametrize("about", [{"role": "owner"}, {"days": 0}, {"days": 91}, {"email": "x"}])
def test_odd_invitations_are_refused(hub: Any, about: dict[str, Any]) -> None:
    with pytest.raises(HubError) as caught:
        _write(hub, invitations.invite, "root", by=None, **about)
    assert caught.value.status in (400, 422)


# --- organisations
def test_an_organisation_always_has_an_admin(hub: Any) -> None:
    acme, alice, bob = _row(hub, "acme"), _row(hub, "alice"), _row(hub, "bob")
    _refused(409, _write, hub, organisations.remove_member, "alice", acme, alice)
    _refused(409, _write, hub, people.set_role, "alice", acme, alice, "reader")
    _refused(409, _write, hub, standing.delete_user, "alice", alice)
    _write(hub, people.set_role, "alice", acme, bob, "admin")
    _write(hub, standing.disable, "root", bob)
    _refused(409, _write, hub, organisations.remove_member, "alice", acme, alice)
    _write(hub, standing.enable, "root", bob)
    _write(hub, organisations.remove_member, "alice", acme, alice)
    _refused(404, _write, hub, organisations.remove_member, "alice", acme, alice)
    _refused(409, _write, hub, organisations.remove_member, "bob", acme, bob)


def test_organisations_do_not_join_organisations(hub: Any) -> None:
    acme = _row(hub, "acme")
    other = _write(hub, organisations.make_organisation, _row(hub, "bob"), "other")
    _refused(400, _write, hub, people.set_role, "bob", other, acme, "reader")
    _refused(
        400, _write, hub, people.set_role, "bob", _row(hub, "bob"), _row(hub, "root"), "reader"
    )
    _refused(400, _write, hub, people.set_role, "bob", other, _row(hub, "root"), "owner")


def test_an_organisation_is_dissolved_only_without_repositories(hub: Any) -> None:
    acme, alice = _row(hub, "acme"), _row(hub, "alice")
    caller = Caller(id=alice.id, name="alice", scope="write", roles={acme.id: "admin"})
    repo = making.make_repo(hub, caller, "model", "acme/x")
    _refused(409, _write, hub, organisations.delete_organisation, "alice", acme)
    making.delete_repo(hub, caller, repo)
    _write(hub, organisations.delete_organisation, "alice", acme)
    with hub.database.read() as connection, pytest.raises(HubError):
        profiles.active_account(connection, "acme")
    _refused(409, _write, hub, people.make_account, "bob", "Acme")  # the name stays taken


# --- standing
def test_a_deleted_user_leaves_the_name_and_nothing_else(hub: Any) -> None:
    _write(hub, people.make_account, "test", "carol", email="c@example.org", full_name="Carol")
    carol = _row(hub, "carol")
    sessions.set_password(hub, "test", carol, PASSWORD)
    sessions.sign_in(hub, "carol", PASSWORD)
    secret = _write(hub, people.make_token, "test", carol)
    _write(hub, people.set_role, "test", _row(hub, "acme"), carol, "reader")
    _write(hub, standing.delete_user, "carol", carol)
    gone = _row(hub, "carol")
    assert (gone.full_name, gone.email, gone.password, gone.admin) == ("", "", None, False)
    with hub.database.read() as connection:
        for table, column in (
            (tokens_table, tokens_table.c.account_id),
            (sessions_table, sessions_table.c.account_id),
            (memberships, memberships.c.user_id),
        ):
            count = select(func.count()).select_from(table).where(column == carol.id)
            assert connection.execute(count).scalar_one() == 0
        entries = json.dumps([list(map(str, row)) for row in connection.execute(select(log))])
    assert secret not in entries and "example.org" not in entries and PASSWORD not in entries
    _refused(409, _write, hub, people.make_account, "test", "carol")
    _refused(401, sessions.sign_in, hub, "carol", PASSWORD)


def test_the_hub_always_has_an_admin(hub: Any) -> None:
    root = _row(hub, "root")
    _refused(409, _write, hub, standing.disable, "root", root)
    _refused(409, _write, hub, standing.delete_user, "root", root)
    _refused(409, _write, hub, standing.set_hub_admin, "root", root, False)
    _refused(409, _write, hub, standing.set_hub_admin, "root", _row(hub, "acme"), True)
    _write(hub, standing.set_hub_admin, "root", _row(hub, "bob"), True)
    _write(hub, standing.disable, "root", root)
    _refused(409, _write, hub, standing.set_hub_admin, "root", _row(hub, "bob"), False)


# --- tokens
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
def test_odd_tokens_are_refused(hub: Any, about: dict[str, Any], status: int) -> None:
    given = {"label": "x", "scope": "read", **about}
    _refused(status, _write, hub, tokens.add_token, "alice", _row(hub, "alice"), **given)


def test_tokens_are_kept_as_hashes_and_are_their_owners(hub: Any) -> None:
    alice, bob = _row(hub, "alice"), _row(hub, "bob")
    given = {"label": "ci", "scope": "fineGrained", "repos": ["Acme/X"], "days": 3}
    secret = _write(hub, tokens.add_token, "alice", alice, **given)
    with hub.database.read() as connection:
        newest = tokens.tokens_of(connection, alice.id)[0]
        everything = str(connection.execute(select(tokens_table)).all())
    assert secret.startswith("hf_") and len(secret) == 51 and secret not in everything
    assert (newest.label, newest.repos) == ("ci", ["acme/x"])
    assert newest.expires_at - newest.created_at == pytest.approx(3 * 86_400_000, abs=5)
    _refused(404, _write, hub, tokens.revoke_token, "bob", bob, newest.id)
    _write(hub, tokens.revoke_token, "alice", alice, newest.id)
    _refused(404, _write, hub, tokens.revoke_token, "alice", alice, newest.id)


# --- signing in
def test_older_parameters_are_replaced_when_one_signs_in(hub: Any) -> None:
    alice = _row(hub, "alice")
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD)
    _write(
        hub,
        lambda c: c.execute(
            update(accounts).where(accounts.c.id == alice.id).values(password=weak)
        ),
    )
    sessions.sign_in(hub, "alice", PASSWORD)
    assert _row(hub, "alice").password != weak
    sessions.sign_in(hub, "alice", PASSWORD)


def test_a_password_changed_while_somebody_signs_in_with_the_old_one(
    hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = _row(hub, "alice")
    sessions.set_password(hub, "test", alice, PASSWORD)
    matches = sessions.matches

    def slowly(kept: Any, password: str) -> bool:
        right = matches(kept, password)
        sessions.set_password(hub, "alice", alice, "the new password")
        return right

    monkeypatch.setattr(sessions, "matches", slowly)
    _refused(401, sessions.sign_in, hub, "alice", PASSWORD)
    with hub.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(sessions_table)).scalar() == 0


def test_an_organisation_cannot_sign_in(hub: Any) -> None:
    _refused(401, sessions.sign_in, hub, "acme", PASSWORD)


# --- profiles
@pytest.mark.parametrize(
    "about",
    [
        {"country": "XX"},
        {"country": "Germany"},
        {"languages": ["english please"]},
        {"languages": ["e"]},
        {"languages": ["en"] * 101},
        {"website": "javascript:alert(1)"},
        {"website": "https://"},
        {"website": "https://x y"},
        {"website": "//evil.example"},
        {"website": 'https://x"onclick=1'},
        {"website": "http://["},
        {"email": "a@b"},
        {"email": "a b@example.org"},
        {"email": "a@example.org\nBcc: x@example.org"},
        {"full_name": "a\u202egnp.exe"},
        {"full_name": "x" * 201},
        {"full_name": "a\0b"},
        {"about": "x" * 5001},
        {"about": "\x1b[2J"},
        {"admin": True},
        {"password": "x"},
    ],
)
def test_odd_profiles_are_refused(hub: Any, about: dict[str, Any]) -> None:
    with pytest.raises(HubError) as caught:
        _write(hub, profiles.set_profile, "alice", _row(hub, "alice"), **about)
    assert caught.value.status in (400, 422)
    assert not _row(hub, "alice").admin


def test_a_profile_in_full(hub: Any) -> None:
    about = {
        "full_name": "\u674e\u660e",
        "email": "li@example.org",
        "country": "cn",
        "languages": ["zh-Hans", "en", "zh-Hans", "ug-Arab-CN", "sr-Latn-RS"],
        "about": "One.\r\nTwo.",
        "website": "https://example.org/~li?x=1#y",
    }
    _write(hub, profiles.set_profile, "alice", _row(hub, "alice"), **about)
    with hub.database.read() as connection:
        shown = profiles.public_profile(connection, account_row(connection, "alice"))
    assert shown["country"] == "CN"
    assert shown["languages"] == ["zh-Hans", "en", "ug-Arab-CN", "sr-Latn-RS"]
    assert shown["about"] == "One.\nTwo."
    assert [one["name"] for one in shown["organisations"]] == ["acme"]
    assert "email" not in shown and "password" not in str(shown)
    with hub.database.read() as connection:
        newest = connection.execute(select(log).order_by(log.c.number.desc()).limit(1)).one()
    assert "example.org" not in str(newest)


# --- the log
def test_the_log_hangs_together_and_shows_what_was_changed(hub: Any) -> None:
    with hub.database.read() as connection:
        assert list(audit.broken_entries(connection)) == []
        last = connection.execute(select(func.max(log.c.number))).scalar_one()
    assert last > 5
    for change in (
        log.update().where(log.c.number == 3).values(target="else"),
        log.update().where(log.c.number == 3).values(detail={"scope": "admin"}),
        log.update().where(log.c.number == 3).values(at=1),
    ):
        with hub.database.read() as connection:
            connection.execute(change)
            assert list(audit.broken_entries(connection)) == [3]
    with hub.database.read() as connection:
        connection.execute(log.delete().where(log.c.number == 3))
        assert list(audit.broken_entries(connection)) == [4]
