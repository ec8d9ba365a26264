"""Texts that people write: what length and letters are accepted."""

from __future__ import annotations

from llmos.hub.errors import bad_request, unprocessable

LONGEST_TITLE = 200
LONGEST_COMMENT = 65_536


def checked_text(value: object, what: str, longest: int, *, empty: bool = False) -> str:
    """`value` without spaces around it. Raises `HubError` 400 when it is no text, is empty (unless
    that is allowed) or has over `longest` letters; 422 for a NUL, which PostgreSQL cannot keep."""
    if not isinstance(value, str):
        raise bad_request(f"{what} must be text")
    text = value.strip()
    if not text and not empty:
        raise bad_request(f"{what} must not be empty")
    if len(text) > longest:
        raise bad_request(f"{what} has {len(text):,} letters; at most {longest:,} are kept")
    if "\0" in text:
        raise unprocessable(f"{what} contains a NUL")
    return text


def checked_title(value: object) -> str:
    """A title: one line. Raises `HubError`."""
    return checked_text(" ".join(str(value or "").split()), "the title", LONGEST_TITLE)
