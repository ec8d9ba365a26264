"""Profiles: what may stand in them, and what others see."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from llmos.hub.accounts import profiles
from llmos.hub.accounts.rights import account_row
from llmos.hub.database.tables import audit as log
from llmos.hub.errors import HubError


@pytest.mark.parametrize(
    "about",
    [
        {"country": "XX"},
        {"country": "Germany"},
        {"languages": ["english please"]},
        {"languages": ["e"]},
        {"languages": ["en"] * 101},
        {"website": "javascript:alert(1)"},
        {"website": "https://"},
        {"website": "https://x y"},
        {"website": "//evil.example"},
        {"website": 'https://x"onclick=1'},
        {"website": "http://["},
        {"email": "a@b"},
        {"email": "a b@example.org"},
        {"email": "a@example.org\nBcc: x@example.org"},
        {"full_name": "a\u202egnp.exe"},
        {"full_name": "x" * 201},
        {"full_name": "a\0b"},
        {"about": "x" * 5001},
        {"about": "\x1b[2J"},
        {"admin": True},
        {"password": "x"},
    ],
)
def test_odd_profiles_are_refused(desk: Any, about: dict[str, Any]) -> None:
    with pytest.raises(HubError) as caught:
        desk.write(profiles.set_profile, "alice", desk.row("alice"), **about)
    assert caught.value.status in (400, 422)
    assert not desk.row("alice").admin


def test_a_profile_in_full(desk: Any) -> None:
    about = {
        "full_name": "\u674e\u660e",
        "email": "li@example.org",
        "country": "cn",
        "languages": ["zh-Hans", "en", "zh-Hans", "ug-Arab-CN", "sr-Latn-RS"],
        "about": "One.\r\nTwo.",
        "website": "https://example.org/~li?x=1#y",
    }
    desk.write(profiles.set_profile, "alice", desk.row("alice"), **about)
    with desk.hub.database.read() as connection:
        shown = profiles.public_profile(connection, account_row(connection, "alice"))
    assert shown["country"] == "CN"
    assert shown["languages"] == ["zh-Hans", "en", "ug-Arab-CN", "sr-Latn-RS"]
    assert shown["about"] == "One.\nTwo."
    assert [one["name"] for one in shown["organisations"]] == ["acme"]
    assert "email" not in shown and "password" not in str(shown)
    with desk.hub.database.read() as connection:
        newest = connection.execute(select(log).order_by(log.c.number.desc()).limit(1)).one()
    assert "example.org" not in str(newest)
