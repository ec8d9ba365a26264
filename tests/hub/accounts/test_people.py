"""Names of accounts: which are refused."""

from __future__ import annotations

from typing import Any

import pytest

from llmos.hub.accounts import people
from llmos.hub.errors import HubError


@pytest.mark.parametrize(
    "name",
    [
        "Alice",  # alice is there
        "\u0430lice",  # Cyrillic a
        "al\u0131ce",  # dotless i
        "\uff41lice",  # full width
        "ali\u00adce",  # soft hyphen
        "alice\u200b",
        "alice ",
        "",
        "a" * 97,
        "a/b",
        "..",
        "-a",
        "api",
        "LOGIN",
        "x.git",
    ],
)
def test_names_that_are_taken_look_alike_or_mean_something_else(desk: Any, name: str) -> None:
    with pytest.raises(HubError) as caught:
        desk.write(people.make_account, "test", name)
    assert caught.value.status in (400, 409)
