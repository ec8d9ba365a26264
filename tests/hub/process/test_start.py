"""`llmos hub start` as a process of its own: what it says, logs, refuses, and how it ends."""

from __future__ import annotations

import json
import re
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from huggingface_hub import HfApi

from llmos.hub.database import migrate
from llmos.hub.database.connection import Database
from llmos.hub.errors import HubError

Start = Callable[..., Any]


def test_the_first_start_gives_a_token_once_with_which_clients_work(start: Start) -> None:
    hub = start()
    address = hub.ready()
    code, said, log = hub.end()
    assert code == 0
    token = re.search(r"HF_TOKEN=(hf_\w+)", said)
    assert token and token[1] not in log
    assert re.search(r"with a browser, .*: llmos hub user password root --folder \S+/", said)
    again = start()
    address = again.ready()
    api = HfApi(endpoint=address, token=token[1])
    assert api.whoami()["name"] == "root"
    api.create_repo("root/first")
    api.upload_file(path_or_fileobj=b"hello", path_in_repo="a.txt", repo_id="root/first")
    assert httpx.get(f"{address}/root/first/resolve/main/a.txt").content == b"hello"
    code, said, log = again.end(signal.SIGINT)
    assert code == 0 and "HF_TOKEN" not in said
    lines = [json.loads(line) for line in log.splitlines()]
    requests = [line for line in lines if line["message"] == "request"]
    commits = [one for one in requests if one["route"] == "/api/{kind}/{repo}/commit/{rev}"]
    assert commits[0]["account"] == "root" and commits[0]["status"] == 200
    assert all({"request", "method", "ms", "sent", "received"} <= one.keys() for one in requests)
    for secret in (token[1], "hello", "a.txt"):
        assert secret not in log


def _taken(tmp_path: Path) -> tuple[list[str], dict[str, str], Any]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return ["--port", str(listener.getsockname()[1])], {}, listener


def _newer(tmp_path: Path) -> tuple[list[str], dict[str, str], Any]:
    url = f"sqlite:///{tmp_path}/hub/hub.db"
    migrate.upgrade(url)
    with sqlite3.connect(tmp_path / "hub" / "hub.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9876'")
    return [], {}, None


def _file(tmp_path: Path) -> tuple[list[str], dict[str, str], Any]:
    (tmp_path / "hub").write_text("I am a file")
    return [], {}, None


REFUSED = {
    "a taken port": (_taken, "choose another --port"),
    "a newer database": (_newer, "newer LLMOS"),
    "a file for a folder": (_file, "cannot write"),
    "no such driver": (["--database", "mysql://x/y"], "choose sqlite or postgresql"),
    "no URL": (["--database", "postgres"], "cannot be read"),
    "no server": (["--database", "postgresql://u:sesame@127.0.0.1:1/x"], "cannot use the database"),
    "no such storage": (["--storage", "ftp://x"], "s3://BUCKET"),
    "a wrong public URL": (["--public-url", "hub.example.org"], "begin with https://"),
    "a wrong word": (["--signup", "anybody"], "invite or open"),
    "a wrong host": (["--host", "256.1.1.1"], "cannot listen"),
    "a wrong port": (["--port", "70000"], "from 0 to 65535"),
    "no number": ({"LLMOS_HUB_THREADS": "many"}, "no whole number"),
    "no threads": ({"LLMOS_HUB_THREADS": "0"}, "too small"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_in_one_line(
    llmos: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    case: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given, words = REFUSED[case]
    options, environment, held = given(tmp_path) if callable(given) else (given, {}, None)
    if isinstance(given, dict):
        options, environment = [], given
    monkeypatch.setenv("LLMOS_HUB_FOLDER", str(tmp_path / "hub"))
    monkeypatch.setenv("LLMOS_HUB_PORT", "0")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    code, said, err = llmos("hub", "start", *options)
    assert code == 2, err
    assert err.startswith("error: ") and err.count("\n") == 1
    assert words in err and "sesame" not in err and said == ""
    if held:
        held.close()


@pytest.mark.slow
def test_a_folder_is_one_hubs(start: Start, tmp_path: Path) -> None:
    first = start()
    first.ready()
    code, _, err = start().end(0)
    assert code == 2 and "another running hub" in err
    other = start("--database", f"sqlite:///{tmp_path}/hub/hub.db", folder=tmp_path / "other")
    code, _, err = other.end(0)
    assert code == 2 and "another running hub" in err
    first.process.kill()
    first.process.communicate()
    start().ready()  # the lock goes with the process, however it ends


@pytest.mark.slow
def test_a_request_that_runs_is_finished_a_second_signal_does_not_wait(start: Start) -> None:
    for signals, finished in ((1, True), (2, False)):
        hub = start()
        address = hub.ready()
        host, _, port = address.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as connection:
            head = b"POST /api/validate-yaml HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n"
            connection.sendall(head + b'{"content"')
            time.sleep(0.3)
            for _ in range(signals):
                hub.process.send_signal(signal.SIGTERM)
                time.sleep(0.3)
            if finished:
                connection.sendall(b': "a: 1"} ')
                assert connection.recv(100).startswith(b"HTTP/1.1 ")
            hub.process.wait(30)
        assert (hub.process.returncode == 0) == finished
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{address}/health")


@pytest.mark.slow
def test_leftovers_of_a_killed_hub_are_dropped(start: Start, tmp_path: Path) -> None:
    hub = start()
    hub.ready()
    hub.process.kill()
    hub.process.communicate()
    left = tmp_path / "hub" / "tmp" / "up-left"
    left.write_bytes(b"half of a file")
    start().ready()
    assert not left.exists()


def test_health_and_metrics_tell_the_truth(start: Start, tmp_path: Path) -> None:
    hub = start()
    address = hub.ready()
    assert httpx.get(f"{address}/health").json()["status"] == "ok"
    assert httpx.get(f"{address}/health/ready").json()["database"] == "ok"
    httpx.get(f"{address}/api/models")
    httpx.get(f"{address}/some/secret-name/resolve/main/x")
    httpx.request("INVENTED", f"{address}/y")
    text = httpx.get(f"{address}/metrics").text
    assert 'llmos_hub_requests_total{method="GET",route="/api/{kind}",status="200"} 1.0' in text
    assert "secret-name" not in text and "INVENTED" not in text
    assert "llmos_hub_audit_entries 2.0" in text
    through_proxy = {"X-Forwarded-For": "203.0.113.7"}
    assert httpx.get(f"{address}/metrics", headers=through_proxy).status_code == 403
    token = re.search(r"HF_TOKEN=(\S+)", hub.said)
    assert token
    signed = {**through_proxy, "Authorization": f"Bearer {token[1]}"}
    assert httpx.get(f"{address}/metrics", headers=signed).status_code == 200
    (tmp_path / "hub" / "tmp").rename(tmp_path / "hub" / "away")
    (tmp_path / "hub" / "tmp").write_text("not a folder")
    answer = httpx.get(f"{address}/health/ready")
    assert (answer.status_code, answer.json()["database"]) == (503, "ok")
    assert answer.json()["storage"] != "ok"


def test_deliveries_of_webhooks_are_counted(start: Start) -> None:
    hub = start(LLMOS_HUB_PRIVATE_WEBHOOKS="allow")
    address = hub.ready()
    token = re.search(r"HF_TOKEN=(\S+)", hub.said)
    assert token
    api = HfApi(endpoint=address, token=token[1])
    watched = [{"type": "user", "name": "root"}]
    api.create_webhook(url="http://127.0.0.1:1/", watched=watched)  # nobody is there
    api.create_repo("root/m")
    counted = 'llmos_hub_webhook_deliveries_total{outcome="retry"} 1.0'
    end = time.monotonic() + 30
    while counted not in httpx.get(f"{address}/metrics").text:
        assert time.monotonic() < end, "no attempt was counted"
        time.sleep(0.1)


def test_an_error_of_the_database_keeps_content_out_of_the_log(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/x.db")
    with pytest.raises(HubError) as found, database.write() as connection:
        connection.exec_driver_sql("INSERT INTO nowhere VALUES (?)", ("a secret",))
    assert "nowhere" in f"{found.value.__cause__}"
    assert "a secret" not in f"{found.value} {found.value.__cause__}"
    database.close()


def test_two_writers_of_a_process_wait_for_each_other(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/x.db")
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE t (n INTEGER)")
        connection.exec_driver_sql("INSERT INTO t VALUES (0)")

    def add() -> None:
        for _ in range(50):
            with database.write() as connection:
                number = connection.exec_driver_sql("SELECT n FROM t").scalar_one()
                connection.exec_driver_sql("UPDATE t SET n = ?", (number + 1,))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT n FROM t").scalar_one() == 200
    database.close()
