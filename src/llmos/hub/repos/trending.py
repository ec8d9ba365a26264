"""What is liked and downloaded lately: a score of which a week takes away half.

Stored is the logarithm of the sum of what each event would be worth if it grew with time instead:
so the order of repositories stays right without anybody computing it anew.
"""

from __future__ import annotations

import math

HALF_LIFE = 7 * 86_400_000  # milliseconds
UNIT = 1_000_000  # the stored number counts millionths of half-lives
LIKE, DOWNLOAD = 10.0, 1.0


def after(stored: int, at: int, worth: float) -> int:
    """The stored number after an event at `at` (milliseconds) of that worth; a negative worth takes
    back an earlier one."""
    event = at / HALF_LIFE + math.log2(abs(worth))
    before = stored / UNIT
    if worth > 0:
        high, low = max(before, event), min(before, event)
        return round((high + math.log2(1 + 2 ** (low - high))) * UNIT)
    if event >= before - 1e-5:
        return 0
    return round((before + math.log2(1 - 2 ** (event - before))) * UNIT)


def score(stored: int, at: int) -> int:
    """The score as it is shown at a time: likes of today count ten, downloads one."""
    return round(2 ** min(stored / UNIT - at / HALF_LIFE, 60.0)) if stored else 0
