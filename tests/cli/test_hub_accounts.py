"""`llmos hub user|org|token|invite`, from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from llmos.cli.hub import app
from llmos.errors import LLMOSError
from llmos.hub.accounts import invitations, sessions
from llmos.hub.accounts.audit import broken_entries
from llmos.hub.accounts.rights import account_row
from llmos.hub.server import first_admin, opened
from llmos.hub.settings import HubSettings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    hub = opened(HubSettings(folder=tmp_path / "hub"))
    first_admin(hub)
    hub.close()
    return tmp_path / "hub"


def run(folder: Path, *words: str, given: str | None = None) -> str:
    result = CliRunner().invoke(app, [*words, "--folder", str(folder)], input=given)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def test_from_a_user_to_an_organisation(folder: Path) -> None:
    run(folder, "user", "add", "alice", "--password-stdin", given="correct horse battery\n")
    run(folder, "user", "add", "bob")
    run(folder, "org", "add", "acme", "--admin", "alice", "--full-name", "Acme")
    run(folder, "org", "role", "acme", "bob", "reader")
    assert run(folder, "org", "list", "acme").splitlines() == ["alice\tadmin", "bob\treader"]
    run(folder, "org", "remove", "acme", "bob")
    with pytest.raises(LLMOSError, match="last admin"):
        run(folder, "org", "remove", "acme", "alice")
    names = [line.split("\t")[0] for line in run(folder, "user", "list").splitlines()]
    assert names == ["alice", "bob", "root"]
    hub = opened(HubSettings(folder=folder))
    assert sessions.sign_in(hub, "alice", "correct horse battery").name == "alice"
    with hub.database.read() as connection:
        assert list(broken_entries(connection)) == []
    hub.close()


def test_tokens(folder: Path) -> None:
    run(folder, "user", "add", "alice")
    made = run(folder, "token", "add", "alice", "--scope", "fineGrained", "--repo", "acme/x")
    assert made.startswith("hf_")
    assert run(folder, "token", "add", "alice", "--value", "hf_a_fixed_value") == "hf_a_fixed_value"
    listed = run(folder, "token", "list", "alice")
    assert made not in listed and len(listed.splitlines()) == 2
    run(folder, "token", "revoke", "alice", listed.split("\t")[0])
    assert len(run(folder, "token", "list", "alice").splitlines()) == 1
    with pytest.raises(LLMOSError):
        run(folder, "token", "add", "alice", "--scope", "all")


def test_an_invitation_works(folder: Path) -> None:
    code = run(folder, "invite")
    hub = opened(HubSettings(folder=folder))
    with hub.database.read() as connection:
        assert invitations.invitation(connection, code).org is None
    hub.close()


def test_keeping_somebody_out(folder: Path) -> None:
    run(folder, "user", "add", "alice", "--admin")
    run(folder, "user", "disable", "root")
    assert "disabled" in run(folder, "user", "list").splitlines()[1]
    with pytest.raises(LLMOSError, match="last admin"):
        run(folder, "user", "disable", "alice")
    run(folder, "user", "enable", "root")
    run(folder, "user", "admin", "alice", "--no")
    run(folder, "user", "delete", "alice")
    with pytest.raises(LLMOSError):
        run(folder, "user", "add", "alice")  # the name stays taken


@pytest.mark.parametrize(
    "words",
    [
        ("user", "disable", "nobody"),
        ("org", "add", "acme", "--admin", "nobody"),
        ("org", "role", "nothing", "root", "admin"),
        ("token", "add", "nobody"),
        ("token", "revoke", "root", "99"),
        ("invite", "--org", "nothing"),
        ("user", "add", "a/b"),
    ],
)
def test_mistakes_are_told_in_a_line(folder: Path, words: Any) -> None:
    with pytest.raises(LLMOSError) as caught:
        run(folder, *words)
    assert "\n" not in str(caught.value)


def test_no_hub_there(tmp_path: Path) -> None:
    with pytest.raises(LLMOSError, match="llmos hub start"):
        run(tmp_path / "none", "user", "list")
    assert not (tmp_path / "none").exists()


def test_new_repositories_are_private_where_that_was_set(folder: Path) -> None:
    run(folder, "user", "add", "alice")
    run(folder, "org", "add", "acme", "--admin", "alice")
    run(folder, "org", "private", "acme")
    run(folder, "user", "private", "alice")
    run(folder, "user", "private", "alice", "--no")
    hub = opened(HubSettings(folder=folder))
    with hub.database.read() as connection:
        set_for = {
            name: account_row(connection, name).private_default for name in ("acme", "alice")
        }
        assert set_for == {"acme": True, "alice": False}
        assert list(broken_entries(connection)) == []
    hub.close()
    with pytest.raises(LLMOSError, match="no organisation alice"):
        run(folder, "org", "private", "alice")
