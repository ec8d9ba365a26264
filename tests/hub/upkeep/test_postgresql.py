"""What only PostgreSQL can show. `make test-system` also runs all other tests of the hub on it."""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import select

from llmos.hub.database import migrate
from llmos.hub.database.connection import Database
from llmos.hub.database.tables import accounts, repos
from llmos.hub.hub import Hub
from llmos.hub.server import first_admin, opened
from llmos.hub.settings import HubSettings
from llmos.hub.upkeep.backup import backup
from llmos.hub.upkeep.checking import check
from llmos.hub.upkeep.collection import collect
from llmos.hub.upkeep.restore import restore

pytestmark = pytest.mark.system


@pytest.fixture
def url() -> Iterator[str]:
    """A new, empty database."""
    server = os.environ["LLMOS_TEST_DATABASE"]  # make test-system sets it
    name = f"own_{os.urandom(6).hex()}"
    engine = sqlalchemy.create_engine(
        server.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    yield server.rpartition("/")[0] + f"/{name}"


def test_migrations_make_what_the_tables_say(url: str, tmp_path: Path) -> None:
    settings = HubSettings(folder=tmp_path, database=url)
    migrate.upgrade(settings.database_url)
    database = Database(settings.database_url)
    with database.read() as connection:
        assert migrate.differences(connection) in ("", "pass")
    database.close()


def test_hubs_that_start_at_once_migrate_once(url: str, tmp_path: Path) -> None:
    settings = HubSettings(folder=tmp_path, database=url)
    failed: list[BaseException] = []

    def up() -> None:
        try:
            migrate.upgrade(settings.database_url)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=up) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_backup_of_sqlite_becomes_a_hub_on_postgresql_and_back(
    world: Any, committed: Callable[..., str], url: str, tmp_path: Path
) -> None:
    committed("alice/m", {"a/b.txt": "größe".encode(), "c.bin": bytes(range(256))})
    backup(world.hub, tmp_path / "backup")
    there = HubSettings(folder=tmp_path / "there", database=url)
    assert restore(there, tmp_path / "backup").damaged == []
    hub = opened(there)
    report = check(hub)
    assert (report.damaged, report.repaired) == ([], [])
    with hub.database.write() as connection:  # numbers go on behind those that were brought
        row = {"name": "new", "name_key": "new", "kind": "user", "created_at": 1}
        connection.execute(accounts.insert(), row)
    backup(hub, tmp_path / "second")
    hub.close()
    back = HubSettings(folder=tmp_path / "back")
    assert restore(back, tmp_path / "second").damaged == []
    again = Hub(back)
    with again.database.read() as connection:
        assert connection.execute(select(repos.c.full_name)).scalar() == "alice/m"
    assert check(again).damaged == []
    again.close()


def test_commits_and_collections_at_once_lose_nothing(
    world: Any, committed: Callable[..., str]
) -> None:
    stop = threading.Event()
    failed: list[BaseException] = []

    def work(name: str) -> None:
        number = 0
        try:
            while not stop.is_set():
                committed(f"alice/{name}", {f"{number % 7}.txt": str(number % 5).encode() * 9})
                number += 1
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for _ in range(5):
        collect(world.hub, grace=0)
        time.sleep(0.2)
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert check(world.hub).damaged == []


def test_a_restart_under_load_is_errors_and_then_recovery(url: str, tmp_path: Path) -> None:
    from starlette.testclient import TestClient

    from llmos.hub.server import make_app

    hub = opened(HubSettings(folder=tmp_path, database=url, requests_per_minute=0))
    token = first_admin(hub)
    client = TestClient(make_app(hub), raise_server_exceptions=False)
    signed = {"Authorization": f"Bearer {token}"}

    def make(name: str) -> int:
        return int(
            client.post("/api/repos/create", json={"name": name}, headers=signed).status_code
        )

    stop = threading.Event()
    codes: Counter[int] = Counter()
    acknowledged: list[str] = []

    def load(worker: int) -> None:
        number = 0
        while not stop.is_set():
            name = f"r{worker}-{number}"
            code = make(name)
            codes[code] += 1
            codes[client.get("/api/models?limit=5").status_code] += 1
            if code == 200:
                acknowledged.append(f"root/{name}")
            number += 1

    threads = [threading.Thread(target=load, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    for _ in range(3):
        subprocess.run(
            shlex.split(os.environ["LLMOS_TEST_RESTART"]),
            check=True,
            cwd="/",
            stdout=subprocess.DEVNULL,
        )
        time.sleep(1)
    stop.set()
    for thread in threads:
        thread.join()
    assert set(codes) <= {200, 503} and codes[503] > 0, codes
    assert client.get("/health/ready").status_code == 200
    assert all(make(f"after-{number}") == 200 for number in range(50))
    with hub.database.read() as connection:
        names = set(connection.scalars(select(repos.c.full_name)))
    assert set(acknowledged) <= names
    assert check(hub).damaged == []
    hub.close()
