"""What forms send."""

from __future__ import annotations

from llmos.hub.api.asking import Ask


def field(ask: Ask, name: str) -> str:
    """One field of the form; "" when it was not sent. Line ends are \\n."""
    return next(iter(ask.form().get(name, [])), "").replace("\r\n", "\n")


def ticked(ask: Ask, name: str) -> bool:
    """Whether a box of the form is ticked."""
    return bool(field(ask, name))


def fields(ask: Ask, name: str) -> list[str]:
    """All fields of that name that are not empty."""
    return [value for value in ask.form().get(name, []) if value]
