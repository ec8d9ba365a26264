"""Passwords: kept as argon2id, compared at the same cost whether or not there is such a user."""

from __future__ import annotations

import threading
import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from llmos.hub.errors import unprocessable

SHORTEST = 10
LONGEST = 256  # more costs time to hash and adds nothing
# OWASP's second choice for argon2id (Password Storage Cheat Sheet, 2024): 19 MiB, two passes.
HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
_AT_ONCE = threading.BoundedSemaphore(
    4
)  # each takes 19 MiB: a flood of logins must not fill memory


def checked_password(password: str, name: str) -> str:
    """A password good enough for the account `name`. Raises `HubError` 422."""
    if not SHORTEST <= len(password) <= LONGEST:
        line = "A password needs {shortest} to {longest} characters"
        raise unprocessable(line, shortest=SHORTEST, longest=LONGEST)
    low = password.lower()
    if len(set(low)) < 4 or low.replace(name.lower(), "") in ("", "password", "1", "123", "1234"):
        raise unprocessable("That password is too easy to guess: choose another")
    return password


def hashed(password: str) -> str:
    """What is kept of a password; takes some 20 ms and 19 MiB."""
    with _AT_ONCE:
        return HASHER.hash(_plain(password))


def matches(kept: str | None, password: str) -> bool:
    """Whether `password` is the one kept. None (no such user, no password) takes as long and is
    never right."""
    password = password[: LONGEST + 1]
    try:
        with _AT_ONCE:
            return HASHER.verify(kept or _nobodys(), _plain(password)) and bool(kept)
    except (VerificationError, InvalidHashError):
        return False


def outdated(kept: str) -> bool:
    """Whether it was hashed with other parameters than those of today."""
    return HASHER.check_needs_rehash(kept)


def _plain(password: str) -> bytes:
    """The same bytes for the same letters, however a keyboard composes them (NIST SP 800-63B)."""
    return unicodedata.normalize("NFKC", password).encode(errors="surrogatepass")


@cache
def _nobodys() -> str:
    return HASHER.hash("nobody has this password")
