"""`llmos plan`, `llmos member` and `llmos train --key --publish` against a hub that is served."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from huggingface_hub import HfApi

from llmos.provenance.agreements import agreement
from llmos.provenance.signing import SigningKey, generate_key, load_key, sign

if TYPE_CHECKING:
    from tests.conftest import Joint
    from tests.hub.conftest import World

Command = Callable[..., tuple[int, str, str]]


class Members:
    """alice, whose member is anna, and the organisation lab of bob, whose member is ben; each runs
    commands with a token and in a home of their own."""

    def __init__(
        self, llmos: Command, world: World, hub: str, patch: pytest.MonkeyPatch, folder: Path
    ) -> None:
        self.llmos, self.world, self.hub, self.patch, self.folder = llmos, world, hub, patch, folder
        self.place = f"{hub}/acme/walk"

    def key(self, user: str) -> Path:
        return self.folder / user / ".config" / "llmos" / "key.pem"

    def run(self, user: str, *arguments: str) -> tuple[int, str, str]:
        self.patch.setenv("HOME", str(self.folder / user))
        self.patch.setenv("HF_TOKEN", self.world.tokens.get(user, ""))
        return self.llmos(*arguments)

    def done(self, user: str, *arguments: str) -> str:
        code, printed, error = self.run(user, *arguments)
        assert code == 0, error
        return printed

    def refused(self, user: str, *arguments: str) -> str:
        code, _, error = self.run(user, *arguments)
        assert code == 2 and error.count("\n") == 1, error
        return error

    def plan(self, recipe: Path) -> None:
        own = ("--member", "anna=alice", "--member", "ben=lab")
        self.done("alice", "plan", str(recipe), self.place, *own)

    def keys(self) -> None:
        self.done("alice", "member", "key", self.hub)
        self.done("bob", "member", "key", self.hub, "--org", "lab")

    def state(self) -> Any:
        return self.world.ask("GET", "/api/runs/acme/walk/state").json()


@pytest.fixture
def members(
    llmos: Command, world: World, live: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Members:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    world.org("lab", bob="admin")
    return Members(llmos, world, live, monkeypatch, tmp_path)


def test_planned_signed_trained_verified(members: Members, joint: Joint, tmp_path: Path) -> None:
    members.plan(joint.recipe_file)
    waits = members.done("bob", "member", "show", members.hub)
    assert f"llmos member agree {members.place}" in waits and "keys of lab: none yet" in waits
    members.keys()
    agree = ("member", "agree", members.place)
    assert "agreed: anna" in members.done("alice", *agree, "--yes")
    out, train = tmp_path / "run", ["--publish", members.place]
    keys = [f"--key=anna={members.key('alice')}", f"--key=ben={members.key('bob')}"]
    early = members.refused("alice", *joint.arguments(out, *train, *keys))
    assert "1 of 2 members have agreed" in early and "ask ben" in early
    saved = tmp_path / "saved.toml"
    shown = members.done("bob", *agree, "--yes", "--save", str(saved))
    assert "agreed: ben" in shown and "rounds.count = 3" in shown
    assert "agreed already" in members.done("bob", *agree, "--yes", "--save", str(saved))

    other = members.refused("alice", *joint.arguments(out, *train, keys[0]))
    assert "ben agreed" in other and "--key ben=FILE" in other and not out.exists()
    changed = members.refused("alice", *joint.arguments(out, "--seed", "9", *train, *keys))
    assert "another recipe" in changed and "llmos member agree" in changed and not out.exists()
    assert "verified there" in members.done("alice", *joint.arguments(out, *train, *keys))
    assert (out / "members" / "ben" / "key.pem").is_symlink()  # the key itself stays where it was
    state = members.state()
    assert (state["state"], state["ledger"]["verified"], state["unit"]) == ("done", True, "round")
    assert "ok: agreements: 2 members agreed here" in state["ledger"]["verdict"]
    assert [(m["name"], m["account"], m["public_key"]) for m in state["members"]] == [
        ("anna", "alice", load_key(members.key("alice")).public),
        ("ben", "lab", load_key(members.key("bob")).public),
    ]
    credit = members.world.ask("GET", "/api/members/lab").json()["contributions"]
    assert credit["runs"] == 1 and credit["tokens"] > 0
    assert "done  as ben: agreed" in members.done("bob", "member", "show", members.hub)
    late = members.refused("alice", *agree, "--yes", "--key", str(new_key(members, "late")))
    assert "has begun" in late
    assert joint.result(out).keys() <= joint.result(joint.folder).keys()


def new_key(members: Members, name: str) -> Path:
    """Another key of alice."""
    file = members.folder / f"{name}.pem"
    members.done("alice", "member", "key", members.hub, "--key", str(file))
    return file


def test_a_key_is_registered_once_and_replaced(members: Members, tmp_path: Path) -> None:
    key = ("member", "key", members.hub)
    assert "made a key" in members.done("alice", *key)
    assert "registered already" in members.done("alice", *key)
    public = load_key(members.key("alice")).public
    taken = members.refused("bob", *key, "--key", str(members.key("alice")))
    assert public[:16] in taken and "name a new file" in taken
    assert "admin" in members.refused("alice", *key, "--org", "lab", "--key", str(tmp_path / "x"))
    assert "no such account" in members.refused("alice", *key, "--org", "nobody")
    new = tmp_path / "new.pem"
    members.done("alice", *key, "--key", str(new), "--instead-of", public, "--label", "second")
    shown = members.done("alice", "member", "show", members.hub)
    assert f"{public}  revoked" in shown and "second" in shown
    assert "was revoked" in members.refused("alice", *key)
    members.done("bob", *key, "--org", "lab")
    lab = load_key(members.key("bob")).public
    members.done("bob", "member", "revoke", members.hub, lab, "--org", "lab")
    assert "no such key" in members.refused("bob", "member", "revoke", members.hub, lab)


class Site(BaseHTTPRequestHandler):
    """Answers everything with a page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<h1>Welcome</h1>")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def another_server() -> Iterator[str]:
    """The address of a web server that is no hub."""
    server = HTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_what_is_wrong_is_one_line(members: Members, joint: Joint, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{probe.getsockname()[1]}"
    agree, key = ("member", "agree"), ("member", "key")
    assert "no address of a hub" in members.refused("alice", *key, "hub.example.org")
    assert "no place on a hub" in members.refused("alice", *agree, "acme/walk")
    assert "cannot be reached" in members.refused("alice", *key, away)
    assert "no token" in members.refused("nobody", *key, members.hub)
    members.world.tokens["eve"] = "hf_of_another_hub"
    assert "does not know the token" in members.refused("eve", *key, members.hub)
    with another_server() as site:
        assert "address of an LLMOS hub" in members.refused("alice", *key, site)
    assert "no such run" in members.refused("alice", *agree, f"{members.hub}/acme/none", "--yes")
    assert not members.key("alice").exists()  # what fails before it is needed makes no key

    no_members = members.refused("alice", "plan", str(joint.recipe_file), members.place)
    assert "names no members" in no_members
    plan = ("plan", str(joint.recipe_file), members.place, "--member")
    assert "no account here" in members.refused("alice", *plan, "anna=zoe")
    assert "NAME=ACCOUNT" in members.refused("alice", *plan, "=zoe")
    assert "rights" in members.refused("bob", *plan, "anna=alice")
    members.plan(joint.recipe_file)
    members.world.user("carol")
    assert "carol is no member" in members.refused("carol", *agree, members.place, "--yes")
    assert "no member of" in members.refused("alice", *agree, members.place, "--member", "zoe")
    none = members.refused("bob", *agree, members.place, "--yes")
    assert f"llmos member key {members.hub} --org lab" in none
    generate_key(members.key("bob"))
    unknown = members.refused("bob", *agree, members.place, "--yes")
    assert f"llmos member key {members.hub} --org lab" in unknown
    members.keys()
    assert "say --yes" in members.refused("bob", *agree, members.place)  # no terminal
    own = tmp_path / "own.toml"
    own.write_text(joint.recipe.with_values({"rounds.count": 4}).to_toml())
    differs = members.refused("bob", *agree, members.place, "--yes", "--recipe", str(own))
    assert "rounds.count" in differs and "nothing was signed" in differs
    same = ("--yes", "--recipe", str(joint.recipe_file))
    mine = members.refused("bob", *agree, members.place, *same, "--member", "anna")
    assert "alice has no key" in mine
    assert [one["signed"] for one in members.state()["members"]] == [False, False]
    members.done("bob", *agree, f"{members.hub}/runs/acme/walk", *same)  # its page's address


def test_a_proof_is_made_for_no_other_hub(members: Members) -> None:
    """A hub that passes on another's challenge, or asks for another account, gets nothing."""
    assert members.world.hub.settings.public_url == ""
    elsewhere = members.hub.replace("127.0.0.1", "localhost")
    members.done("alice", "member", "key", elsewhere)
    object.__setattr__(members.world.hub.settings, "public_url", "https://other.example.org")
    refused = members.refused("bob", "member", "key", members.hub)
    assert "calls itself https://other.example.org" in refused
    assert members.world.ask("GET", "/api/members/bob").json()["keys"] == []


def agreed(members: Members, joint: Joint, keys: dict[str, SigningKey]) -> None:
    """The members have agreed with these keys."""
    members.plan(joint.recipe_file)
    for (member, key), user in zip(keys.items(), ("alice", "bob"), strict=True):
        account = {"alice": "alice", "bob": "lab"}[user]
        register(members.world, account, key)
        digest = members.state()["recipe_sha256"]
        signed = sign(key, "agreement", agreement("acme/walk", member, digest))
        answer = members.world.ask("POST", "/api/runs/acme/walk/signature", user, json=signed)
        assert answer.status_code == 200, answer.text


def register(world: World, account: str, key: SigningKey) -> None:
    owner = {"lab": "bob"}.get(account, account)
    base = f"/api/hub/{'orgs/lab' if account == 'lab' else 'me'}/keys"
    asked = world.ask("POST", f"{base}/challenge", owner).json()
    proof = {"proof": sign(key, "hub_key", asked)}
    assert world.ask("POST", base, owner, json=proof).status_code == 200


def test_a_ledger_of_other_keys_than_agreed_is_marked(
    members: Members, joint: Joint, tmp_path: Path
) -> None:
    new = {name: generate_key(tmp_path / f"{name}.pem") for name in ("anna", "ben")}
    agreed(members, joint, new)
    ledger = (joint.folder / "ledger.jsonl").read_bytes()

    def send() -> Any:
        return members.world.ask(
            "POST", "/api/runs/acme/walk/ledger", "alice", content=ledger
        ).json()

    found = send()
    assert not found["verified"]
    problems = [problem for check in found["checks"] for problem in check["problems"]]
    assert [problem.split()[0] for problem in problems] == ["anna", "ben"]
    assert [one["tokens"] for one in members.state()["members"]] == [0, 0]
    assert members.world.ask("GET", "/api/members/alice").json()["contributions"]["tokens"] == 0
    for name, account in (("anna", "alice"), ("ben", "lab")):  # a second key of the same account
        home = joint.folder / "members" / name / "key.pem"
        register(members.world, account, load_key(home))
    assert send()["verified"]


def test_a_run_alone_published_afterwards_has_its_curves(
    members: Members, joint: Joint, tmp_path: Path
) -> None:
    out, place = tmp_path / "alone", f"{members.hub}/acme/alone"
    key, data = str(tmp_path / "own.pem"), str(joint.members["anna"])
    members.done("alice", "member", "key", members.hub, "--key", key)
    train = ("train", str(joint.recipe_file), "--out", str(out), "--data", data, "--key", key)
    members.done("alice", *train)
    members.done("alice", "publish", str(out), place)
    state = members.world.ask("GET", "/api/runs/acme/alone/state").json()
    assert (state["unit"], state["round"], state["rounds"]) == ("step", 6, 6)
    assert [(m["account"], m["rounds"]) for m in state["members"]] == [("alice", 6)]
    points = members.world.ask("GET", "/api/runs/acme/alone/progress").json()["points"]
    told = {point["round"]: point["values"] for point in points}
    assert "bits_per_byte" in told[0] and {"loss", "bits_per_byte"} <= told[6].keys()
    assert members.done("alice", "publish", str(out), place)  # again: nothing changes
    members.done("alice", "train", "--resume", str(out))


def test_an_owner_settles_whether_what_is_new_is_private(members: Members, joint: Joint) -> None:
    ask = members.world.ask
    assert ask("GET", "/api/hub/me", "alice").json()["private_default"] is False
    change = {"private_default": True}
    assert ask("PATCH", "/api/hub/orgs/acme", "bob", json=change).status_code == 403
    assert ask("PATCH", "/api/hub/orgs/acme", "alice", json=change).status_code == 200
    members.plan(joint.recipe_file)
    assert ask("GET", "/api/runs/acme/walk/state").status_code == 401
    members.patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    api = HfApi(endpoint=members.hub, token=members.world.tokens["alice"])
    api.create_repo("acme/hidden")
    assert api.repo_info("acme/hidden").private
    api.create_repo("alice/shown")
    assert not api.repo_info("alice/shown").private
    members.done("alice", "publish", str(joint.copy(members.folder / "r")), f"{members.hub}/acme/r")
    assert api.repo_info("acme/r").private
    shared = ("plan", str(joint.recipe_file), f"{members.hub}/acme/shown", "--public")
    members.done("alice", *shared, "--member", "anna=alice", "--member", "ben=lab")
    assert ask("GET", "/api/runs/acme/shown/state").status_code == 200
    members.done("alice", "publish", str(members.folder / "r"), f"{members.hub}/acme/shown")
    assert not api.repo_info("acme/shown").private  # the model is as its run
