"""How often one may ask: by account, by network, and wrong passwords by both."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from huggingface_hub.utils._http import parse_ratelimit_headers

from llmos.hub.accounts.limits import REMEMBERED, Rate, network
from llmos.hub.api.app import HubApp
from llmos.hub.api.surface import ROUTES

PASSWORD = "correct horse battery"
Asks = Callable[..., Any]


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def world(new_world: Any, tmp_path: Any) -> Iterator[Any]:
    world = new_world(tmp_path, signup="open", requests_per_minute=4, logins_per_minute=3)
    world.user("alice")
    world.user("bob")
    clock = Clock()
    for rate in (world.hub.limits.requests, world.hub.limits.logins_from):
        rate._clock = clock
    world.hub.limits.logins_to._clock = clock
    world.clock = clock
    yield world
    world.hub.close()


def test_a_bucket_allows_so_many_and_fills_over_a_minute() -> None:
    clock = Clock()
    rate = Rate(6, clock)
    assert [rate.take("a") for _ in range(6)] == [0.0] * 6
    assert rate.take("a") == pytest.approx(10)
    assert rate.take("b") == 0.0
    clock.at += 9.9
    assert rate.take("a") > 0
    clock.at += 0.2
    assert rate.take("a") == 0.0
    clock.at += 3600
    assert [rate.take("a") > 0 for _ in range(7)] == [False] * 6 + [True]


def test_asking_while_there_is_none_does_not_make_the_wait_longer() -> None:
    clock = Clock()
    rate = Rate(6, clock)
    for _ in range(100):
        rate.take("a")
    clock.at += 10.1
    assert rate.take("a") == 0.0


def test_the_memory_of_a_bucket_is_bounded() -> None:
    rate = Rate(6, Clock())
    for number in range(REMEMBERED + 50):
        rate.take(str(number))
    assert len(rate._left) == REMEMBERED


def test_no_limit() -> None:
    assert not any(Rate(0).take("a") for _ in range(1000))


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unknown"),
        ("testclient", "unknown"),
    ],
)
def test_addresses_of_one_customer_count_as_one(address: str, counted: str) -> None:
    assert network(address) == counted


def test_too_many_requests_are_429_with_the_time_to_wait(world: Any, ask: Asks) -> None:
    app = HubApp(world.hub, ROUTES)
    alice = [("Authorization", "Bearer hf_token_of_alice")]
    bob = [("Authorization", "Bearer hf_token_of_bob")]
    assert [ask(app, "GET", "/api/hub/me", alice).status for _ in range(4)] == [200] * 4
    got = ask(app, "GET", "/api/hub/me", alice)
    assert (got.status, got.header("retry-after")) == (429, "15")
    told = parse_ratelimit_headers({k.decode(): v.decode() for k, v in got.headers})
    assert told is not None and (told.remaining, told.reset_in_seconds) == (0, 15)
    assert ask(app, "GET", "/api/hub/me", bob).status == 200  # from the same address
    world.clock.at += 15.1
    assert ask(app, "GET", "/api/hub/me", alice).status == 200


def test_nobody_in_particular_is_counted_by_network(world: Any, ask: Asks) -> None:
    app = HubApp(world.hub, ROUTES)

    def statuses(client: str, count: int) -> list[int]:
        return [ask(app, "GET", "/api/models", client=client).status for _ in range(count)]

    assert statuses("192.0.2.1", 5) == [200] * 4 + [429]
    assert statuses("192.0.2.2", 1) == [200]
    assert [statuses(f"2001:db8::{number}", 1)[0] for number in range(5)] == [200] * 4 + [429]


def test_wrong_tokens_are_counted_too(world: Any, ask: Asks) -> None:
    app = HubApp(world.hub, ROUTES)
    found = [
        ask(app, "GET", "/api/hub/me", [("Authorization", f"Bearer hf_{number}")]).status
        for number in range(5)
    ]
    assert found == [401] * 4 + [429]


def test_a_header_does_not_make_one_somebody_else(world: Any, ask: Asks) -> None:
    """Whom a proxy speaks for is settled by the server (settings.proxies), not here."""
    app = HubApp(world.hub, ROUTES)
    found = [
        ask(app, "GET", "/api/models", [("X-Forwarded-For", f"198.51.100.{number}")]).status
        for number in range(5)
    ]
    assert found == [200] * 4 + [429]


def _login(ask: Asks, app: HubApp, name: str, password: str, client: str) -> int:
    body = json.dumps({"name": name, "password": password}).encode()
    return int(ask(app, "POST", "/api/hub/login", body=body, client=client).status)


@pytest.fixture
def door(world: Any, ask: Asks) -> Callable[..., int]:
    """Sign in: door(name, password, client)."""
    world.hub.limits.requests.per_minute = 0
    app = HubApp(world.hub, ROUTES)
    for name in ("carol", "dora"):
        body = json.dumps({"name": name, "password": PASSWORD}).encode()
        assert ask(app, "POST", "/api/hub/signup", body=body).status == 200
    return lambda *about: _login(ask, app, *about)


def test_wrong_passwords_from_one_network(door: Callable[..., int], world: Any) -> None:
    guesses = [door(f"user{number}", "wrong", "192.0.2.1") for number in range(4)]
    assert guesses == [401] * 3 + [429]
    assert door("carol", PASSWORD, "192.0.2.1") == 429
    assert door("carol", PASSWORD, "192.0.2.2") == 200
    world.clock.at += 21
    assert door("carol", PASSWORD, "192.0.2.1") == 200


def test_wrong_passwords_for_one_account(door: Callable[..., int]) -> None:
    guesses = [door("carol", "wrong", f"192.0.2.{number}") for number in range(4)]
    assert guesses == [401] * 3 + [429]
    assert door("CAROL", "wrong", "192.0.2.9") == 429
    assert door("dora", PASSWORD, "192.0.2.9") == 200


def test_right_passwords_do_not_count(door: Callable[..., int]) -> None:
    assert [door("carol", PASSWORD, "192.0.2.1") for _ in range(8)] == [200] * 8


def test_signing_up_is_limited_by_network(world: Any, ask: Asks) -> None:
    world.hub.limits.requests.per_minute = 0
    app = HubApp(world.hub, ROUTES)
    found = []
    for number in range(4):
        body = json.dumps({"name": f"n{number}", "password": PASSWORD}).encode()
        found.append(ask(app, "POST", "/api/hub/signup", body=body).status)
    assert found == [200, 200, 200, 429]
