"""A hub with something of everything, some of it hostile, and browsers that look at its pages."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from llmos.hub.accounts import people, sessions
from llmos.hub.accounts.rights import Caller, account_row, roles_of
from llmos.hub.database import migrate
from llmos.hub.database.connection import Database
from llmos.hub.database.tables import metadata
from llmos.hub.git import versions
from llmos.hub.hub import Hub
from llmos.hub.repos import changes
from llmos.hub.repos.content import keep_bytes
from llmos.hub.repos.edits import Changes
from llmos.hub.repos.making import make_repo, repo_by_name
from llmos.hub.repos.settings import RepoSettings, change_settings
from llmos.hub.runs.planning import plan_run
from llmos.hub.runs.progress import add_progress
from llmos.hub.server import make_app
from llmos.hub.settings import HubSettings
from llmos.hub.together import collection_items, collections, discussions
from llmos.hub.together.pull_requests import open_pull_request
from llmos.web.routes import ROUTES, error_page

PASSWORD = "long enough, I think"
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'>"
FILE = "a/<img src=x onerror=alert(3)>&\"'.txt"
CARD = f"""---
license: apache-2.0
language: [en, zh, "<b>x</b>"]
pipeline_tag: text-generation
library_name: "<script>1</script>"
datasets: [acme/texts, "<i>elsewhere</i>"]
tags: ["<u>tag</u>"]
---
# Title {HOSTILE}

<script>alert(4)</script> <a href="javascript:alert(5)" onclick="alert(6)">link</a>
<iframe src="https://evil.example"></iframe><style>body{{display:none}}</style>
<form action="https://evil.example"><input name=csrf></form> <svg onload=alert(7)></svg>
[md](javascript:alert(8)) ![pic](https://evil.example/track.png) ![own](img/a.png) [f](a/b.txt)
<h2 id="main">main</h2>

| a | b |
|---|---|
| 1 | {HOSTILE} |
"""
RECIPE = """version = 1
name = "tiny"
description = "Two train. <script>alert(9)</script>"
[rounds]
count = 8
[agreement]
members = ["acme", "bob"]
"""


@dataclass
class Site:
    """The hub, and browsers by the user that has signed in with them ("": nobody)."""

    hub: Hub
    app: Any

    def browser(self, user: str = "") -> TestClient:
        """A browser; `user` signs in first."""
        client = TestClient(self.app, follow_redirects=False, raise_server_exceptions=False)
        client.headers["Accept"] = "text/html"
        if user:
            answer = client.post("/login", data={"name": user, "password": PASSWORD, "next": "/"})
            assert answer.status_code == 303, answer.text
        return client

    def caller(self, name: str) -> Caller:
        """A caller with all rights of the user."""
        with self.hub.database.read() as connection:
            row = account_row(connection, name)
            assert row is not None
            roles = roles_of(connection, row.id)
            return Caller(id=row.id, name=name, admin=row.admin, scope="write", roles=roles)

    def commit(self, who: str, repo: Any, files: dict[str, bytes], title: str = "Change") -> str:
        """Commit files to main."""
        entries = {path: keep_bytes(self.hub, content) for path, content in files.items()}
        made = Changes(title, added=entries)
        return changes.commit(self.hub, self.caller(who), repo, "main", made)


def open_site(folder: Path, **settings: Any) -> Site:
    """The hub in a folder; an empty one when there is none."""
    made = HubSettings(folder=folder, requests_per_minute=0, logins_per_minute=0, **settings)
    if not (folder / "hub.db").exists():
        database = Database(made.database_url)
        metadata.create_all(database.engine)
        with database.write() as connection:
            migrate.stamp(connection)
        database.close()
    hub = Hub(made)
    return Site(hub, make_app(hub, ROUTES, error_page))


def fill(site: Site) -> None:
    """alice (admin of acme), bob, root (admin); repositories of every kind."""
    hub = site.hub
    kept = None
    with hub.database.write() as connection:
        for name, about in (("alice", {}), ("bob", {}), ("root", {"admin": True})):
            people.make_account(connection, "test", name, full_name=f"{name} {HOSTILE}", **about)
        org = people.make_account(
            connection, "test", "acme", "org", country="DE", languages=["de", "<b>"], about=CARD
        )
        people.set_role(connection, "test", org, account_row(connection, "alice"), "admin")
    for name in ("alice", "bob", "root"):
        with hub.database.read() as connection:
            row = account_row(connection, name)
        if kept is None:
            sessions.set_password(hub, "test", row, PASSWORD)
            with hub.database.read() as connection:
                kept = account_row(connection, name).password
        with hub.database.write() as connection:
            table = metadata.tables["accounts"]
            connection.execute(table.update().where(table.c.id == row.id).values(password=kept))
    alice = site.caller("alice")
    small = make_repo(hub, alice, "model", "acme/small")
    config = json.dumps({"architectures": ["LlamaForCausalLM"], "model_type": "llama"}).encode()
    files = {"README.md": CARD.encode(), FILE: b"<b>&\n2\n", "config.json": config}
    site.commit("alice", small, {**files, "x.bin": b"\0\1" * 50}, f"Add {HOSTILE}")
    site.commit("alice", small, {FILE: b"<b>&\n3\n"}, "Second")
    texts = make_repo(hub, alice, "dataset", "acme/texts", sharing="federated")
    site.commit("alice", texts, {"README.md": b"---\nlicense: cc-by-sa-4.0\n---\nAt home"})
    gated = make_repo(hub, alice, "model", "acme/gated")
    change_settings(hub, alice, gated, RepoSettings(gated="manual"))
    make_repo(hub, alice, "model", "acme/secret", private=True)
    make_repo(hub, site.caller("root"), "model", "gpt2")
    run = plan_run(hub, alice, "acme/run", RECIPE)
    add_progress(hub, alice, run, {n: {"bits_per_byte": 3 / (n + 1)} for n in range(5)})
    with hub.database.write() as connection:
        bob = site.caller("bob")
        discussions.open_discussion(connection, bob, small, f"Hello {HOSTILE}", CARD)
        head = versions.resolve(connection, small.id, "main").oid
        number = open_pull_request(
            connection, bob, small, title=f"PR {HOSTILE}", head=head, description=HOSTILE
        )
        made_of = {"description": HOSTILE}
        slug = collections.make_collection(connection, alice, "acme", HOSTILE, **made_of)
        about = (("model", "acme/small"), ("run", "acme/run"), ("paper", "2307.09288"))
        for kind, name in about:
            collection_items.add_item(
                connection, alice, f"x-{slug.collection_id}", kind, name, HOSTILE
            )
        table = metadata.tables["collections"]
        connection.execute(table.update().values(collection_id="0" * 24))
    entry = keep_bytes(hub, f"new\n{HOSTILE}\n".encode())
    made = Changes(f"To PR {HOSTILE}", added={"new.txt": entry})
    changes.commit(hub, bob, small, f"refs/pr/{number}", made)


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a filled hub, to be copied."""
    folder = tmp_path_factory.mktemp("filled") / "hub"
    site = open_site(folder)
    fill(site)
    site.hub.close()
    return folder


@pytest.fixture(scope="session")
def shown(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A filled hub that tests only look at."""
    site = open_site(shutil.copytree(filled, tmp_path_factory.mktemp("shown") / "hub"))
    yield site
    site.hub.close()


@pytest.fixture
def site(filled: Path, tmp_path: Path) -> Iterator[Site]:
    """A filled hub that a test may change."""
    site = open_site(shutil.copytree(filled, tmp_path / "hub"))
    yield site
    site.hub.close()


@pytest.fixture(scope="session")
def open_new() -> Any:
    """Makes an empty hub with other settings: open_new(folder, signup="open")."""
    return open_site


def row_of(site: Site, kind: str, name: str) -> Any:
    """The repository's row."""
    with site.hub.database.read() as connection:
        return repo_by_name(connection, kind, name)


VOID = ("meta", "link", "input", "img", "br", "hr", "path", "circle", "line", "rect")


class Page(HTMLParser):
    """A page in its parts. `problems`: what is not well formed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.problems: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.problems += [f"<{tag}> is not closed" for tag in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.problems.append(f"<{tag}> has an attribute twice")
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self._open or self._open.pop() != tag:
            self.problems.append(f"</{tag}> closes something else")

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all elements of a kind."""
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="session")
def read_page() -> type[Page]:
    """Reads a page into its parts: read_page(text)."""
    return Page


class Browser:
    """A signed-in browser that sends forms with its token and looks at the answer."""

    def __init__(self, site: Any, name: str) -> None:
        self.client = site.browser(name)

    @property
    def token(self) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', self.client.get("/").text)
        assert found
        return found[1]

    def send(self, path: str, expected: int = 303, **fields: str) -> Any:
        answer = self.client.post(path, data={"csrf": self.token, **fields})
        assert answer.status_code == expected, (path, answer.status_code, answer.text[-1500:])
        if expected == 303:
            return self.client.get(answer.headers["location"])
        return answer


@pytest.fixture
def alice(site: Any) -> Browser:
    return Browser(site, "alice")


@pytest.fixture
def bob(site: Any) -> Browser:
    return Browser(site, "bob")


@pytest.fixture
def root(site: Any) -> Browser:
    return Browser(site, "root")
