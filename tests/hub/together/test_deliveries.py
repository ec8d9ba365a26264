"""Webhooks are delivered, signed, again until they are taken, and never into private networks."""

from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from huggingface_hub import WebhookPayload
from sqlalchemy import update

from llmos.hub.database.tables import repos, webhook_deliveries, webhooks
from llmos.hub.errors import HubError
from llmos.hub.repos import making
from llmos.hub.together import comments, deliveries, discussions, outgoing, webhook_settings


class Receiver(http.server.ThreadingHTTPServer):
    """Takes what is sent and answers with the statuses it was given, the last one for ever."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.statuses = [200]
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
                more = len(receiver.statuses) > 1
                self.send_response(receiver.statuses.pop(0) if more else receiver.statuses[0])
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://localhost:{self.server_port}/hook?a=b"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def allowed(shop) -> None:
    shop.hub.settings = replace(
        shop.hub.settings, private_webhooks="allow", public_url="https://hub.example.org"
    )


PRIVATE = """127.0.0.1 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 0.0.0.0 100.64.0.1
224.0.0.1 255.255.255.255 192.0.2.1 198.18.0.1 240.0.0.1 ::1 :: fe80::1 fe80::1%eth0 fc00::1
ff02::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::7f00:1 64:ff9b:1::1 2002:7f00:1:: 2001:db8::1
2001:0:0:0:0:0:80ff:fffe"""
SENSELESS = """ftp://example.org file:///etc/passwd gopher://x http:// https://u:p@example.org
http://example.org:0/ http://example.org:99999/ http://[::1 //example.org example.org"""
SENSELESS_TOO = [
    "",
    "http://a b/",
    "http://a\r\nX: y/",
    "http://exämple.org/",
    f"http://{'a' * 3000}",
]
WATCHED = [{"type": "org", "name": "ACME"}, {"type": "model", "name": "acme/Thing"}]


def _watch(shop, url: str, user: str = "alice", watched=WATCHED, **options):
    with shop.hub.database.write() as connection:
        return webhook_settings.make_webhook(connection, shop.caller(user), url, watched, **options)


def _send(shop, *, all_due: bool = True) -> list[str]:
    outcomes: list[str] = []
    with ThreadPoolExecutor(2) as senders:
        while deliveries.deliver_due(shop.hub, senders, outcomes.append) and all_due:
            pass
    return outcomes


def _events(receiver) -> list[str]:
    found = [json.loads(body)["event"] for _, body in receiver.got]
    return sorted(f"{event['scope']}:{event['action']}" for event in found)


def test_each_change_is_told_as_the_payload_says(shop, receiver, allowed) -> None:
    _watch(shop, receiver.url, secret="my secret")
    repo = shop.repo("acme/thing")
    shop.commit(repo, {"a": b"1"})
    alice = shop.caller("alice")
    with shop.hub.database.write() as connection:
        number = discussions.open_discussion(connection, shop.caller("bob"), repo, "T", "text")
        made = discussions.comment(connection, alice, repo, number, "answer")
        discussions.set_status(connection, alice, 6, repo, number, "closed")
        comments.hide(connection, alice, 6, repo, number, made.event_id)
    moved = making.move_repo(shop.hub, alice, repo, "acme/other")
    making.delete_repo(shop.hub, alice, moved)
    assert set(_send(shop)) == {"done"}
    assert _events(receiver) == [
        "discussion.comment:create",
        "discussion.comment:create",
        "discussion:create",
        "discussion:update",
        "repo.content:update",
        "repo:create",
        "repo:delete",
        "repo:move",
    ]
    for headers, body in receiver.got:
        mac = hmac.new(b"my secret", body, hashlib.sha256).hexdigest()
        assert headers["x-webhook-secret"] == "my secret"
        assert headers["x-webhook-signature"] == f"sha256={mac}"
        payload = WebhookPayload.model_validate_json(body)
        assert payload.repo.url.web.startswith("https://hub.example.org/acme/")
        if payload.event.scope == "discussion.comment":
            page = f"https://hub.example.org/acme/thing/discussions/{number}"
            assert payload.comment.url.web == f"{page}#{payload.comment.id}"
        if payload.event.scope == "repo.content":
            (ref,) = payload.updatedRefs
            assert (ref.ref, len(ref.oldSha)) == ("refs/heads/main", 40)
            assert json.loads(body)["repo"]["headSha"] == ref.newSha
        if payload.event.action == "move":
            assert payload.movedTo.name == "acme/other"


def test_only_what_is_watched_and_may_be_seen(shop, receiver, allowed) -> None:
    _watch(shop, receiver.url, "bob", domains=["discussion"])
    hook = _watch(shop, receiver.url, "bob", domains=["repo"])
    repo = shop.repo("acme/thing")
    private = shop.repo("acme/hidden", private=True)
    shop.commit(private, {"a": b"1"})
    shop.repo("alice/thing")
    assert _send(shop) == ["done"]
    with shop.hub.database.write() as connection:
        webhook_settings.change_webhook(
            connection, shop.caller("bob"), hook.webhook_id, {"disabled": True}
        )
    shop.commit(repo, {"a": b"1"})
    assert _send(shop) == []
    with shop.hub.database.write() as connection:
        connection.execute(update(repos).values(private=True))
        connection.execute(update(webhooks).values(disabled=False))
    shop.commit(repo, {"a": b"2"})
    assert _send(shop) == []


def test_it_is_sent_again_after_longer_waits_and_at_last_given_up(
    shop, receiver, allowed, monkeypatch
) -> None:
    clock = [10_000_000]
    monkeypatch.setattr(deliveries, "now", lambda: clock[0])
    _watch(shop, receiver.url, domains=["repo"])
    receiver.statuses = [500, 302, 404, 200]
    shop.repo("acme/thing")
    with shop.hub.database.write() as connection:
        connection.execute(update(webhook_deliveries).values(next_at=0, created_at=clock[0]))
    for wait in (60, 300, 1800):
        assert _send(shop) == ["retry"]
        clock[0] += wait * 1000 - 1
        assert _send(shop) == []
        clock[0] += 1
    assert _send(shop) == ["done"]
    assert len({body for _, body in receiver.got}) == 1
    receiver.statuses = [503]
    shop.repo("acme/other")
    outcomes = []
    for _ in range(9):
        with shop.hub.database.write() as connection:
            waiting = webhook_deliveries.c.state == "waiting"
            connection.execute(
                update(webhook_deliveries).where(waiting).values(next_at=0, created_at=clock[0])
            )
        outcomes += _send(shop)
    assert outcomes == ["retry"] * len(deliveries.WAITS) + ["failed"]
    clock[0] += deliveries.KEPT + 1
    receiver.statuses = [410]
    shop.repo("acme/third")
    with shop.hub.database.write() as connection:
        newest = webhook_deliveries.c.state == "waiting"
        connection.execute(
            update(webhook_deliveries).where(newest).values(next_at=0, created_at=clock[0])
        )
    assert _send(shop) == ["failed"]  # gone: not tried again
    with shop.hub.database.read() as connection:
        assert len(connection.execute(webhook_deliveries.select()).all()) == 1


def test_a_private_address_is_never_connected_to(shop, receiver, monkeypatch) -> None:
    _watch(shop, receiver.url, domains=["repo"])
    shop.repo("acme/thing")
    assert _send(shop) == ["failed"]
    with shop.hub.database.read() as connection:
        (row,) = connection.execute(webhook_deliveries.select())
    assert "private network" in row.answer
    # A name that changes its address between the check and the connection opens nothing.
    answers = iter(["93.184.216.34", "127.0.0.1"])
    connected = []

    def lookup(host, port, **_):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    def connect(address, timeout):
        connected.append(address)
        raise OSError("no network in tests")

    monkeypatch.setattr(outgoing.socket, "getaddrinfo", lookup)
    monkeypatch.setattr(outgoing.socket, "create_connection", connect)
    with pytest.raises(OSError, match="no network"):
        outgoing.post("http://rebinding.example/", b"{}", {})
    assert connected == [("93.184.216.34", 80)]
    assert receiver.got == []


@pytest.mark.parametrize("address", PRIVATE.split())
def test_addresses_of_private_networks(address: str) -> None:
    assert not outgoing.is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111"])
def test_addresses_of_the_open_internet(address: str) -> None:
    assert outgoing.is_public(address)


@pytest.mark.parametrize(
    "host", ["127.1", "2130706433", "0x7f.1", "017700000001", "localhost", "[::1]"]
)
def test_other_spellings_of_this_machine(host: str) -> None:
    with pytest.raises((HubError, OSError)):
        outgoing.post(f"http://{host}:1/", b"", {})


@pytest.mark.parametrize("url", [*SENSELESS.split(), *SENSELESS_TOO])
def test_addresses_that_cannot_be_meant(url: str) -> None:
    with pytest.raises(HubError) as caught:
        outgoing.checked_url(url)
    assert caught.value.status == 400


def test_the_thread_sends_and_stops(shop, receiver, allowed, monkeypatch) -> None:
    monkeypatch.setattr(deliveries, "LOOK_EVERY", 0.01)
    told = threading.Event()
    outcomes = []

    def report(outcome: str) -> None:
        outcomes.append(outcome)
        told.set()

    running = deliveries.start_deliveries(shop.hub, report)
    _watch(shop, receiver.url, domains=["repo"])
    shop.repo("acme/thing")
    assert told.wait(20)
    running.stop()
    assert outcomes == ["done"] and len(receiver.got) == 1
    shop.repo("acme/other")
    assert len(receiver.got) == 1


def test_a_full_queue_takes_no_more(shop, monkeypatch) -> None:
    from llmos.hub.together import webhooks as module

    monkeypatch.setattr(module, "MOST_WAITING", 2)
    _watch(shop, "https://example.org/", domains=["repo"])
    repo = shop.repo("acme/thing")
    for number in range(4):
        shop.commit(repo, {"a": b"%d" % number})
    with shop.hub.database.read() as connection:
        assert len(connection.execute(webhook_deliveries.select()).all()) == 2
