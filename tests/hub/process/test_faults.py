"""A hub that is killed, or runs out of disk, at any moment: nothing acknowledged is lost, nothing
is half there."""

from __future__ import annotations

import errno
import importlib.util
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from huggingface_hub import HfApi

from llmos.hub.hub import Hub
from llmos.hub.settings import HubSettings
from llmos.hub.upkeep.checking import check

KILLS = 100
SCRIPT = Path(__file__).parent / "sending.py"
spec = importlib.util.spec_from_file_location("sending", SCRIPT)
assert spec and spec.loader
sending = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sending)


def _acknowledged(notes: Path) -> dict[str, int]:
    lines = notes.read_text().splitlines() if notes.exists() else []
    return {line.split()[0]: int(line.split()[1]) for line in lines if len(line.split()) == 2}


def _whole(address: str, api: HfApi, repo: str, acknowledged: dict[str, int]) -> int:
    """Check all commits of main; returns how many there are."""
    commits = api.list_repo_commits(repo)
    ids = {one.commit_id for one in commits}
    assert acknowledged.keys() <= ids, "an acknowledged commit is lost"
    files = {one.path: one for one in api.list_repo_tree(repo, recursive=True)}
    for commit in commits:
        if not commit.title.startswith("number "):
            continue
        number = int(commit.title.removeprefix("number "))
        for path in sending.contents(number):
            assert path in files, "half a commit is visible"
    return len(commits)


def _contents(address: str, repo: str, numbers: list[int]) -> None:
    with httpx.Client() as client:
        for number in numbers:
            for path, data in sending.contents(number).items():
                answer = client.get(f"{address}/{repo}/resolve/main/{path}")
                assert (answer.status_code, answer.content) == (200, data)


@pytest.mark.slow
def test_a_hub_killed_at_random_points_loses_nothing(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    draw = random.Random(7)
    first = start()
    address = first.ready()
    found = re.search(r"HF_TOKEN=(\S+)", first.said)
    assert found
    token, repo, notes = found[1], "root/target", tmp_path / "notes"
    HfApi(endpoint=address, token=token).create_repo(repo)
    hub = first
    for seed in range(1, KILLS + 1):
        arguments = [sys.executable, str(SCRIPT), address, token, repo, str(notes), str(seed)]
        environment = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home")}
        with subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        ) as sender:
            assert sender.stdout and sender.stdout.readline() == b"go\n"
            time.sleep(draw.uniform(0.0, 1.5))
            hub.process.send_signal(signal.SIGKILL)
            sender.kill()
        hub.process.communicate()
        hub = start()
        address = hub.ready()
        _whole(address, HfApi(endpoint=address, token=token), repo, _acknowledged(notes))
    acknowledged = _acknowledged(notes)
    assert len(acknowledged) > KILLS / 2
    _contents(address, repo, draw.sample(sorted(acknowledged.values()), 50))
    assert hub.end()[0] == 0
    opened = Hub(HubSettings(folder=tmp_path / "hub"))
    report = check(opened)
    opened.close()
    assert (report.damaged, report.repaired) == ([], [])


def _full(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("place", "size"),
    [
        ("os.replace", 3),
        ("os.replace", 100_000),
        ("os.fsync", 100_000),  # a small file is brought to the disk after its commit
        ("pathlib.Path.write_bytes", 3),
        ("pathlib.Path.write_bytes", 100_000),
    ],
)
def test_a_full_disk_is_507_and_leaves_the_repository_as_it_was(
    world: Any, monkeypatch: pytest.MonkeyPatch, place: str, size: int
) -> None:
    world.ask("POST", "/api/repos/create", "alice", json={"name": "m"})
    text = "A" * size
    body = (
        '{"key": "header", "value": {"summary": "x"}}\n'
        f'{{"key": "file", "value": {{"path": "a.txt", "content": "{text}"}}}}\n'
    )
    headers = {"Content-Type": "application/x-ndjson"}
    options = {"content": body, "headers": headers}
    before = world.ask("GET", "/api/models/alice/m").json()["sha"]
    with monkeypatch.context() as patch:
        patch.setattr(place, _full)
        answer = world.ask("POST", "/api/models/alice/m/commit/main", "alice", **options)
    assert answer.status_code == 507, answer.text
    assert world.ask("GET", "/api/models/alice/m").json()["sha"] == before
    assert check(world.hub).damaged == []
    assert list(world.hub.settings.temporary.glob("up-*")) == []
    again = world.ask("POST", "/api/models/alice/m/commit/main", "alice", **options)
    assert again.status_code == 200
    assert world.ask("GET", "/alice/m/resolve/main/a.txt").text == text


@pytest.mark.skipif("LLMOS_TEST_DATABASE" in os.environ, reason="about SQLite")
def test_a_database_that_cannot_grow_is_507_and_goes_on_when_it_can(world: Any) -> None:
    # SQLite is told the greatest number of pages: the same error as that of a full disk.
    with world.hub.database.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()

    def most(count: int) -> None:
        def limit(connection: Any, *_: Any) -> None:
            connection.execute(f"PRAGMA max_page_count={count}")

        from sqlalchemy import event

        world.hub.database.engine.dispose()
        event.listen(world.hub.database.engine, "connect", limit)

    most(pages)
    codes = set()
    for number in range(60):
        about = {"name": f"m{number}"}
        codes.add(world.ask("POST", "/api/repos/create", "alice", json=about).status_code)
    assert codes <= {200, 507} and 507 in codes
    assert world.ask("GET", "/api/models").status_code == 200
    most(10**6)
    about = {"name": "room-again"}
    assert world.ask("POST", "/api/repos/create", "alice", json=about).status_code == 200
    assert check(world.hub).damaged == []


def test_of_two_commits_that_race_with_the_same_parent_one_is_412(world: Any) -> None:
    world.ask("POST", "/api/repos/create", "alice", json={"name": "m"})
    codes: list[int] = []
    for turn in range(5):
        parent = world.ask("GET", "/api/models/alice/m").json()["sha"]
        gate = threading.Barrier(4)

        def send(name: str, parent: str = parent, gate: threading.Barrier = gate) -> None:
            body = (
                f'{{"key": "header", "value": {{"summary": "x", "parentCommit": "{parent}"}}}}\n'
                f'{{"key": "file", "value": {{"path": "{name}", "content": "QUJD", '
                '"encoding": "base64"}}\n'
            )
            gate.wait()
            answer = world.ask(
                "POST", "/api/models/alice/m/commit/main", "alice", content=body.encode()
            )
            codes.append(answer.status_code)

        threads = [threading.Thread(target=send, args=(f"{turn}-{one}",)) for one in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(codes) == [200] * 5 + [412] * 15
    assert check(world.hub).damaged == []
