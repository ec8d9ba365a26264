"""Files on their way out: whole, in parts, or not at all."""

from __future__ import annotations

import hashlib
from email import message_from_bytes

import pytest

from llmos.hub.accounts.rights import Caller, account_row
from llmos.hub.database.tables import blobs
from llmos.hub.git.entries import Entry
from llmos.hub.repos import changes, delivery, making
from llmos.hub.repos.content import keep_bytes

DATA = bytes(range(256)) * 4000  # a megabyte, of which each part is known
PATH = "/alice/small/resolve/main/data"


@pytest.fixture
def repo(world):
    with world.hub.database.read() as connection:
        alice = Caller(id=account_row(connection, "alice").id, name="alice", scope="write")
    repo = making.make_repo(world.hub, alice, "model", "alice/small")
    files = {
        "data": DATA,
        "empty": b"",
        "page.html": b"<script>alert(1)</script>",
        "README.md": b"x",
    }
    added = {path: keep_bytes(world.hub, data) for path, data in files.items()}
    changes.commit(world.hub, alice, repo, "main", changes.Changes("x", added=added))
    return repo


def get(world, path: str = PATH, method: str = "GET", **headers: str):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return world.ask(method, path, headers=named)


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes=5-", 5, len(DATA)),
        ("bytes=-7", len(DATA) - 7, len(DATA)),
        ("bytes=-99999999999", 0, len(DATA)),
        ("bytes=10-99999999999", 10, len(DATA)),
        ("BYTES = 5-9", 5, 10),
        ("bytes=0-4,2-9", 0, 10),
        ("bytes=100-900000", 100, 900_001),
    ],
)
def test_a_part(world, repo, asked: str, start: int, stop: int) -> None:
    answer = get(world, range=asked)
    assert (answer.status_code, answer.content) == (206, DATA[start:stop])
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(DATA)}"
    assert answer.headers["content-length"] == str(stop - start)
    head = get(world, method="HEAD", range=asked)
    assert head.status_code == 206 and head.headers["content-length"] == str(stop - start)


@pytest.mark.parametrize(
    "asked",
    ["", "bytes", "bytes=", "lines=1-2", "bytes=a-b", "bytes=5-2", "bytes=-", "bytes=1-2,x",
     "bytes=٣-٥", "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 400, 4))],
)  # fmt: skip
def test_what_is_no_range_means_the_whole_file(world, repo, asked: str) -> None:
    answer = world.ask("GET", PATH, headers={"Range": asked.encode()})
    assert (answer.status_code, answer.content) == (200, DATA)


@pytest.mark.parametrize(
    "asked", [f"bytes={len(DATA)}-", "bytes=-0", "bytes=9999999999-99999999999"]
)
def test_a_part_that_is_not_there(world, repo, asked: str) -> None:
    answer = get(world, range=asked)
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(DATA)}"
    assert get(world, "/alice/small/resolve/main/empty", range="bytes=0-").status_code == 416


def test_several_parts(world, repo) -> None:
    answer = get(world, range="bytes=0-1,100-102,-3")
    assert answer.status_code == 206
    assert answer.headers["content-length"] == str(len(answer.content))
    kind = answer.headers["content-type"].encode()
    parts = message_from_bytes(b"Content-Type: " + kind + b"\r\n\r\n" + answer.content)
    told = [(part["Content-Range"], part.get_payload(decode=True)) for part in parts.get_payload()]
    size = len(DATA)
    assert told == [
        (f"bytes 0-1/{size}", DATA[:2]),
        (f"bytes 100-102/{size}", DATA[100:103]),
        (f"bytes {size - 3}-{size - 1}/{size}", DATA[-3:]),
    ]


def test_conditions(world, repo) -> None:
    etag = get(world).headers["etag"]
    for named in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        answer = get(world, if_none_match=named)
        assert answer.status_code == 304 and answer.content == b""
        assert answer.headers["etag"] == etag
    assert get(world, if_none_match='"x"').status_code == 200
    assert get(world, range="bytes=0-4", if_range=etag).status_code == 206
    assert get(world, range="bytes=0-4", if_range='"x"').content == DATA


def test_head_tells_what_get_does(world, repo) -> None:
    for path in ("data", "empty", "page.html", "none"):
        address = f"/alice/small/resolve/main/{path}"
        head, whole = get(world, address, "HEAD"), get(world, address)
        assert head.status_code == whole.status_code and head.content == b""
        ours = {"x-request-id"}
        assert {key: value for key, value in head.headers.items() if key not in ours} == {
            key: value for key, value in whole.headers.items() if key not in ours
        }


def test_a_page_cannot_run_on_the_hubs_address(world, repo) -> None:
    answer = get(world, "/alice/small/resolve/main/page.html")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.svg", "image/svg+xml"),
        ("a.PNG", "image/png"),
        ("svg", "application/octet-stream"),
        ("a.html", "application/octet-stream"),
        ("a.xml", "application/octet-stream"),
        ("a.svg.txt", "application/octet-stream"),
    ],
)
def test_only_pictures_are_of_a_kind_and_none_runs_a_script(
    world, repo, alice, name: str, kind: str
) -> None:
    added = {name: keep_bytes(world.hub, b"<svg onload='alert(1)'/>")}
    changes.commit(world.hub, alice, repo, "main", changes.Changes("x", added=added))
    for below, expected in (("resolve", kind), ("raw", "text/plain; charset=utf-8")):
        for asked in ({}, {"range": "bytes=0-3"}):
            answer = get(world, f"/alice/small/{below}/main/{name}", **asked)
            assert answer.headers["content-type"] == expected
            policy = answer.headers["content-security-policy"].split("; ")
            assert {"default-src 'none'", "sandbox"} <= set(policy) and "script" not in str(policy)
            assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_picture_on_a_page_is_not_sent_elsewhere(world, repo, alice, monkeypatch) -> None:
    """Pages load nothing from other addresses, so not from the store's either."""
    added = {"a.png": keep_bytes(world.hub, b"picture" * 9)}
    changes.commit(world.hub, alice, repo, "main", changes.Changes("x", added=added))
    monkeypatch.setattr(Entry, "lfs", True)  # as if it were large
    monkeypatch.setattr(type(world.hub.blobs), "link", lambda *_, **__: "https://store.example/x")
    path = "/alice/small/resolve/main/a.png"
    assert get(world, path).status_code == 302
    assert get(world, path, sec_fetch_dest="image").content == b"picture" * 9


def test_downloads_are_counted_once_for_each_whole_card(world, repo) -> None:
    path = "/alice/small/resolve/main/README.md"
    etag = get(world, path).headers["etag"]
    (
        get(world, path, "HEAD"),
        get(world, path, range="bytes=0-0"),
        get(world, path, if_none_match=etag),
    )
    world.hub.downloads.write()  # they are written down together, now and then
    assert world.ask("GET", "/api/models/alice/small").json()["downloads"] == 1


def state_of(world, sha256: str):
    with world.hub.database.read() as connection:
        return connection.execute(blobs.select().where(blobs.c.sha256 == sha256)).one()


@pytest.mark.parametrize("how", ["changed", "cut short", "gone", "empty"])
def test_a_damaged_blob_is_never_served(world, repo, how: str) -> None:
    sha256 = hashlib.sha256(DATA).hexdigest()
    file = world.hub.blobs.path(sha256)
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes({"changed": DATA[:-1] + b"?", "cut short": DATA[:-9], "empty": b""}[how])
    answer = get(world)
    assert answer.status_code == 503 and "damaged" in answer.json()["error"]
    assert state_of(world, sha256).state == "damaged"
    assert get(world, range="bytes=0-4").status_code == 503  # known by now
    assert get(world, method="HEAD").status_code == 503


def test_a_large_damaged_blob_breaks_off_before_its_end(world, repo, monkeypatch) -> None:
    monkeypatch.setattr(delivery, "SMALL", 1000)
    monkeypatch.setattr("llmos.hub.storage.local.PIECE", 100_000)
    sha256 = hashlib.sha256(DATA).hexdigest()
    assert get(world).content == DATA
    assert state_of(world, sha256).checked_at is None  # it is new: trusted
    monkeypatch.setattr(delivery, "TRUSTED", -1)
    assert get(world).content == DATA
    assert state_of(world, sha256).checked_at is not None
    world.hub.blobs.path(sha256).write_bytes(DATA[:-1] + b"?")
    broken_off = get(world)  # its headers were sent before: bytes are missing
    assert broken_off.headers["content-length"] == str(len(DATA))
    assert DATA.startswith(broken_off.content) and len(broken_off.content) < len(DATA)
    assert state_of(world, sha256).state == "damaged"


def test_what_can_run_code_is_kept_back_from_others(world, repo) -> None:
    sha256 = hashlib.sha256(DATA).hexdigest()
    with world.hub.database.write() as connection:
        same = blobs.update().where(blobs.c.sha256 == sha256)
        connection.execute(same.values(state="quarantined", reason="it runs os.system"))
    for user in (None, "bob"):
        answer = world.ask("GET", PATH, user)
        assert answer.status_code == 403 and "os.system" in answer.json()["error"]
    assert world.ask("GET", PATH, "alice").content == DATA
