"""Signing a device in, as huggingface_hub's own client does it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from llmos.hub.accounts import devices, standing
from llmos.hub.accounts.rights import account_row
from llmos.hub.accounts.sessions import start_session
from llmos.hub.api.app import HubApp
from llmos.hub.database.connection import now
from llmos.hub.database.tables import device_logins
from llmos.hub.errors import HubError
from llmos.web.routes import WHOLE, error_page

CLIENT = """
import json, sys
from huggingface_hub.utils import _oauth_device as oauth
about = oauth.request_device_code()
print(json.dumps(about), flush=True)
about["interval"] = 0.2
print(json.dumps(oauth.poll_device_token(about)), flush=True)
"""


@pytest.fixture
def alice(world: Any) -> Any:
    with world.hub.database.read() as connection:
        return account_row(connection, "alice")


def _decide(world: Any, user: Any, code: str, allow: bool = True) -> None:
    with world.hub.database.write() as connection:
        devices.decide(connection, user.id, user.name, code, allow)


def _refusal(world: Any, code: str) -> str:
    with pytest.raises(HubError) as caught:
        devices.collect(world.hub, code)
    assert caught.value.status == 400
    return str(caught.value.extra["error"])


def test_the_client_gets_a_token_that_works(
    world: Any, live: str, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "INTERVAL", 0)
    given = {**os.environ, "HF_ENDPOINT": live, "HF_HUB_OFFLINE": "0"}
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT], stdout=subprocess.PIPE, text=True, env=given
    )
    assert client.stdout is not None
    timer = threading.Timer(60, client.kill)
    timer.start()
    about = json.loads(client.stdout.readline())
    assert about["verification_uri"] == f"{live}/device"
    assert about["verification_uri_complete"].endswith(about["user_code"])
    _decide(world, alice, about["user_code"].lower().replace("-", " "))  # as people type
    made = json.loads(client.stdout.readline())
    timer.cancel()
    assert client.wait(30) == 0
    assert made["expires_in"] == 30 * 86400
    bearer = {"Authorization": f"Bearer {made['access_token']}"}
    assert world.client.get("/api/hub/me", headers=bearer).json()["name"] == "alice"


def test_a_device_waits_until_it_is_decided(world: Any, alice: Any) -> None:
    begun = devices.begin(world.hub)
    assert _refusal(world, begun.code) == "authorization_pending"
    assert _refusal(world, begun.code) == "slow_down"
    assert _refusal(world, begun.user_code) == "expired_token"  # the short code opens nothing
    _decide(world, alice, begun.user_code)
    assert devices.collect(world.hub, begun.code).token.startswith("hf_")
    assert _refusal(world, begun.code) == "expired_token"  # once


def test_denied_or_late(world: Any, alice: Any) -> None:
    denied, late = devices.begin(world.hub), devices.begin(world.hub)
    _decide(world, alice, denied.user_code, allow=False)
    assert _refusal(world, denied.code) == "access_denied"
    with pytest.raises(HubError):
        _decide(world, alice, denied.user_code)  # decided once
    with world.hub.database.write() as connection:
        connection.execute(update(device_logins).values(expires_at=now() - 1))
    with pytest.raises(HubError):
        _decide(world, alice, late.user_code)
    assert _refusal(world, late.code) == "expired_token"


def test_who_was_disabled_meanwhile_gets_no_token(world: Any, alice: Any) -> None:
    begun = devices.begin(world.hub)
    _decide(world, alice, begun.user_code)
    with world.hub.database.write() as connection:
        standing.disable(connection, "test", alice)
    assert _refusal(world, begun.code) == "access_denied"


def test_waiting_sign_ins_are_bounded(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "MOST", 2)
    devices.begin(world.hub)
    devices.begin(world.hub)
    with pytest.raises(HubError) as caught:
        devices.begin(world.hub)
    assert caught.value.status == 503


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "unsupported_grant_type"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant"),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:device_code"}, "expired_token"),
    ],
)
def test_other_grants(world: Any, form: dict[str, str], error: str) -> None:
    got = world.client.post("/oauth/token", data=form)
    assert (got.status_code, got.json()["error"]) == (400, error)


def test_a_token_cannot_let_a_device_in_only_a_session_can(world: Any, alice: Any) -> None:
    begun = devices.begin(world.hub)
    body = {"user_code": begun.user_code, "allow": True}
    assert world.ask("POST", "/api/hub/device", "alice", json=body).status_code == 403
    with world.hub.database.write() as connection:
        made = start_session(connection, world.hub, alice.id, "alice")
    headers = {"Cookie": f"llmos_session={made.code}"}
    assert world.ask("POST", "/api/hub/device", json=body, headers=headers).status_code == 403
    headers["X-CSRF-Token"] = made.csrf
    assert world.ask("POST", "/api/hub/device", json=body, headers=headers).status_code == 200


@pytest.fixture
def pages(world: Any) -> Iterator[Any]:
    yield TestClient(HubApp(world.hub, WHOLE, error_page), follow_redirects=False)


def test_the_page_asks_first(world: Any, alice: Any, pages: Any) -> None:
    begun = devices.begin(world.hub)
    path = f"/device?user_code={begun.user_code}"
    sent_on = pages.get(path)
    assert sent_on.status_code == 303
    assert sent_on.headers["location"].startswith("/login?next=%2Fdevice")
    with world.hub.database.write() as connection:
        made = start_session(connection, world.hub, alice.id, "alice")
    cookie = {"Cookie": f"llmos_session={made.code}"}
    shown = pages.get(path, headers=cookie)
    assert begun.user_code in shown.text and shown.headers["x-frame-options"] == "DENY"
    assert _refusal(world, begun.code) == "authorization_pending"  # looking is not allowing
    form = {"user_code": begun.user_code, "allow": "1"}
    assert pages.post("/device", data=form, headers=cookie).status_code == 403
    form["csrf"] = made.csrf
    assert pages.post("/device", data=form, headers=cookie).status_code == 200
    assert devices.collect(world.hub, begun.code).seconds == 30 * 86400
    assert pages.post("/device", data=form, headers=cookie).status_code == 404
