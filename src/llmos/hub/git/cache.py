"""Decoded parts of versions, kept in memory: they never change, so none is ever stale."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Cache(Generic[T]):
    """Values by key up to a total weight, the least used dropped first. Safe between threads."""

    def __init__(self, most: int) -> None:
        """`most` is the weight that is kept."""
        self._most = most
        self._held: OrderedDict[object, tuple[T, int]] = OrderedDict()
        self._weight = 0
        self._lock = threading.Lock()

    def get(self, key: object) -> T | None:
        """The value; None when it is not (or no longer) there."""
        with self._lock:
            found = self._held.get(key)
            if found is None:
                return None
            self._held.move_to_end(key)
            return found[0]

    def add(self, key: object, value: T, weight: int) -> None:
        """Keep a value."""
        with self._lock:
            before = self._held.pop(key, None)
            self._weight += weight - (before[1] if before else 0)
            self._held[key] = (value, weight)
            while self._weight > self._most and len(self._held) > 1:
                self._weight -= self._held.popitem(last=False)[1][1]
