"""What tests of accounts do all the time: find somebody, write, be refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from llmos.hub.accounts.rights import account_row
from llmos.hub.errors import HubError


@dataclass
class Desk:
    """A hub with alice (admin of acme), bob and root (admin of the hub)."""

    hub: Any

    def row(self, name: str) -> Any:
        """The account of that name."""
        with self.hub.database.read() as connection:
            row = account_row(connection, name)
        assert row is not None
        return row

    def write(self, function: Callable[..., Any], *about: Any, **more: Any) -> Any:
        """What the function returns, in a transaction of its own."""
        with self.hub.database.write() as connection:
            return function(connection, *about, **more)

    def refused(self, status: int, function: Callable[..., Any], *about: Any, **more: Any) -> str:
        """The message with which it is refused."""
        with pytest.raises(HubError) as caught:
            function(*about, **more)
        assert caught.value.status == status, caught.value
        return caught.value.message


@pytest.fixture
def desk(world: Any) -> Desk:
    return Desk(world.hub)
