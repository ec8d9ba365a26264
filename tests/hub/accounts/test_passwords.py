"""Passwords: what is kept, what is refused."""

from __future__ import annotations

import argon2
import pytest

from llmos.hub.accounts import passwords
from llmos.hub.errors import HubError


def test_what_is_kept_is_argon2id_with_owasps_parameters() -> None:
    kept = passwords.hashed("correct horse battery")
    about = argon2.extract_parameters(kept)
    assert (about.type, about.memory_cost, about.time_cost, about.parallelism) == (
        argon2.Type.ID,
        19 * 1024,
        2,
        1,
    )
    assert passwords.matches(kept, "correct horse battery")
    assert not passwords.matches(kept, "correct horse batterz")
    assert kept != passwords.hashed("correct horse battery")  # salted
    assert not passwords.outdated(kept)


def test_older_parameters_are_outdated() -> None:
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash("x")
    assert passwords.outdated(weak)


@pytest.mark.parametrize("kept", [None, "", "x", "$argon2id$v=19$m=1", "sha1$abc"])
def test_nothing_kept_matches_nothing(kept: str | None) -> None:
    for password in ("", "x", "nobody has this password"):
        assert not passwords.matches(kept, password)


def test_the_same_letters_composed_in_another_way() -> None:
    assert passwords.matches(passwords.hashed("na\u00efve caf\u00e9s"), "nai\u0308ve cafe\u0301s")


def test_odd_text_is_no_crash() -> None:
    kept = passwords.hashed("x" * 20)
    for password in ("", "\0", "\ud800", "x" * 1_000_000):
        assert not passwords.matches(kept, password)


@pytest.mark.parametrize(
    "password",
    ["", "short", "x" * 257, "aaaaaaaaaaaa", "ababababababab", "alicealice", "alicepassword"],
)
def test_easy_passwords_are_refused(password: str) -> None:
    with pytest.raises(HubError) as caught:
        passwords.checked_password(password, "Alice")
    assert caught.value.status == 422
    assert not password or password not in caught.value.message


def test_a_good_password_is_taken_as_it_is() -> None:
    for password in (
        "correct horse",
        "\u5bc6\u7801\u662f\u4e00\u4e2a\u79d8\u5bc6\u4e0d\u8981\u8bf4",
        " spaces count ",
    ):
        assert passwords.checked_password(password, "alice") == password
