"""How often something may happen: a bucket that fills over a minute, for each key.

Kept in memory, by each process for itself: a hub of four processes allows four times as much.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from llmos.hub.errors import HubError

REMEMBERED = 20_000  # keys; those used longest ago are forgotten, as if they had been idle


class Rate:
    """At most `per_minute` (0: no limit) for each key, all at once or spread out."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute = per_minute
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key -> left, when
        self._lock = threading.Lock()

    def take(self, key: str, count: float = 1) -> float:
        """Take `count` for `key`; returns the seconds to wait until there is one (0.0: taken)."""
        if self.per_minute <= 0:
            return 0.0
        at = self._clock()
        with self._lock:
            left, since = self._left.pop(key, (float(self.per_minute), at))
            left = min(self.per_minute, left + (at - since) * self.per_minute / 60)
            enough = left >= min(count, 1)
            self._left[key] = (left - count if enough else left, at)
            if len(self._left) > REMEMBERED:
                self._left.popitem(last=False)
        return 0.0 if enough else (1 - left) * 60 / self.per_minute

    def check(self, key: str, what: str) -> None:
        """Take one. Raises `HubError` 429, which says when to come again."""
        wait = self.take(key)
        if wait:
            raise too_many(what, self.per_minute, wait)


def too_many(what: str, per_minute: int, wait: float) -> HubError:
    """429, in the words of RFC 6585 and the headers that huggingface_hub reads."""
    seconds = max(1, int(wait + 0.999))
    headers = {
        "Retry-After": str(seconds),
        "RateLimit": f'"hub";r=0;t={seconds}',
        "RateLimit-Policy": f'"fixed window";"hub";q={per_minute};w=60',
    }
    about = {"what": what, "seconds": seconds}
    return HubError(
        429, "Too many {what}: come again in {seconds} s", headers=headers, values=about
    )


def network(address: str) -> str:
    """The network of an address: one IPv6 customer has 2**64 addresses, so they count as one."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(known, ipaddress.IPv6Address):
        mapped = known.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((known, 64), strict=False))
    return address


class Limits:
    """The limits of one hub."""

    def __init__(self, requests_per_minute: int, logins_per_minute: int) -> None:
        self.requests = Rate(requests_per_minute)
        self.logins_from = Rate(logins_per_minute)  # by network
        self.logins_to = Rate(logins_per_minute)  # by account
        self.signups = Rate(logins_per_minute)  # by network
        self.noted_failures = Rate(60)  # entries in the audit log, of the whole hub
