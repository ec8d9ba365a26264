"""Where the time of a run goes, by part, in seconds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

# Parts that exist only because the run is joint; the rest a member working alone would spend too.
JOINT_PARTS = ("exchange", "compression", "merge", "ledger")


class Stopwatch:
    """Seconds spent in each named part. Parts do not nest: an inner one is taken off the outer."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stack: list[tuple[str, float]] = []

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        now = time.perf_counter()
        if self._stack:
            outer, since = self._stack[-1]
            self._add(outer, now - since)
        self._stack.append((part, now))
        try:
            yield
        finally:
            now = time.perf_counter()
            name, since = self._stack.pop()
            self._add(name, now - since)
            if self._stack:
                self._stack[-1] = (self._stack[-1][0], now)

    def _add(self, part: str, seconds: float) -> None:
        self.seconds[part] = self.seconds.get(part, 0.0) + seconds

    def take(self) -> dict[str, float]:
        """The seconds since the last call, rounded to microseconds; starts again from zero."""
        seconds = {part: round(value, 6) for part, value in sorted(self.seconds.items())}
        self.seconds = {}
        return seconds
