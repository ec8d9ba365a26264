"""A hub in a temporary folder, with some accounts."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import obstore
import pytest
import sqlalchemy
from obstore.store import S3Store
from starlette.testclient import TestClient

from llmos.hub.accounts import people
from llmos.hub.accounts.rights import Caller, account_row
from llmos.hub.api.app import HubApp
from llmos.hub.api.routing import Route
from llmos.hub.api.surface import ROUTES
from llmos.hub.database import migrate
from llmos.hub.database.connection import Database
from llmos.hub.database.tables import metadata
from llmos.hub.hub import Hub
from llmos.hub.settings import HubSettings


@dataclass
class World:
    """A hub, an HTTP client to it, and tokens by user."""

    hub: Hub
    client: TestClient
    tokens: dict[str, str] = field(default_factory=dict)

    def user(self, name: str, **about: Any) -> str:
        """A new user; returns a token that may write."""
        with self.hub.database.write() as connection:
            row = people.make_account(connection, "test", name, **about)
            self.tokens[name] = people.make_token(
                connection, "test", row, value=f"hf_token_of_{name}"
            )
        return self.tokens[name]

    def org(self, name: str, **members: str) -> None:
        """A new organisation; `members` are user=role."""
        with self.hub.database.write() as connection:
            org = people.make_account(connection, "test", name, "org")
            for user, role in members.items():
                row = account_row(connection, user)
                assert row is not None
                people.set_role(connection, "test", org, row, role)

    def ask(self, method: str, path: str, user: str | None = None, **options: Any) -> Any:
        """A request, as `user`, or as nobody."""
        headers = dict(options.pop("headers", {}))
        if user:
            headers["Authorization"] = f"Bearer {self.tokens[user]}"
        return self.client.request(method, path, headers=headers, follow_redirects=False, **options)


def open_hub(folder: Path, **settings: Any) -> Hub:
    """A hub with fresh tables: in SQLite, or in the PostgreSQL that LLMOS_TEST_DATABASE names."""
    if (server := os.environ.get("LLMOS_TEST_DATABASE")) and "database" not in settings:
        settings["database"] = _new_database(server, f"TEMPLATE {_with_tables(server)}")
        return Hub(HubSettings(folder=folder, **settings))
    made = HubSettings(folder=folder, **settings)
    _make_tables(made.database_url)
    return Hub(made)


def _make_tables(url: str) -> None:
    database = Database(url)
    metadata.create_all(database.engine)
    with database.write() as connection:
        migrate.stamp(connection)
    database.close()


def _new_database(server: str, more: str = "") -> str:
    """The URL of a new database."""
    name = f"hub_{os.urandom(6).hex()}"
    engine = sqlalchemy.create_engine(
        server.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} {more}")
    engine.dispose()
    return server.rpartition("/")[0] + f"/{name}"


@cache
def _with_tables(server: str) -> str:
    """The name of a database with empty tables: copying it takes a quarter as long as making
    them."""
    url = _new_database(server)
    _make_tables(HubSettings(database=url).database_url)
    return url.rpartition("/")[2]


def world_in(folder: Path, routes: list[Route] = ROUTES, **settings: Any) -> World:
    """An empty hub of these settings."""
    hub = open_hub(folder, **settings)
    return World(hub, TestClient(HubApp(hub, routes), raise_server_exceptions=False))


@pytest.fixture(scope="session")
def new_world() -> Callable[..., World]:
    """Makes further hubs, with other settings: new_world(folder, signup="open"). Close them."""
    return world_in


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """alice, bob, root (an admin) and the organisation acme (alice: admin)."""
    hub = open_hub(tmp_path / "hub")
    world = World(hub, TestClient(HubApp(hub, ROUTES), raise_server_exceptions=False))
    world.user("alice")
    world.user("bob")
    world.user("root", admin=True)
    world.org("acme", alice="admin")
    yield world
    hub.close()


@pytest.fixture
def bucket() -> dict[str, str]:
    """The settings of a hub with an empty bucket of the S3 server that LLMOS_TEST_S3 names (its
    URL; keys in AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)."""
    endpoint = os.environ["LLMOS_TEST_S3"]  # make test-system sets it
    name = f"hub-{os.urandom(4).hex()}"
    options: Any = {"virtual_hosted_style_request": False, "client_options": {"allow_http": True}}
    address = obstore.sign(
        S3Store(name, endpoint=endpoint, **options), "PUT", "", timedelta(minutes=5)
    )
    urllib.request.urlopen(urllib.request.Request(address, data=b"", method="PUT")).close()
    return {"storage": f"s3://{name}/some/prefix", "storage_endpoint": endpoint}


@pytest.fixture
def alice(world: World) -> Caller:
    """alice, as one who asks with a token that may write."""
    with world.hub.database.read() as connection:
        row = account_row(connection, "alice")
        assert row is not None
        return Caller(id=row.id, name="alice", scope="write")


@pytest.fixture
def live(world: World, over_http: Callable[[Any], AbstractContextManager[str]]) -> Iterator[str]:
    """The address of the same hub, served over HTTP for real clients."""
    with over_http(HubApp(world.hub, ROUTES)) as address:
        yield address
