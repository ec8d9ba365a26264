"""Scripts that put no blanks between words, as ranges of code points, first and last.

Their letters and marks, without digits and punctuation. Written out, so that members whose
libraries know different Unicode versions still cut alike.
"""

from __future__ import annotations

BY_DICTIONARY = (
    (0x0E01, 0x0E3A), (0x0E40, 0x0E4E),  # Thai
    (0x0E81, 0x0ECF), (0x0EDC, 0x0EDF),  # Lao
    (0x1000, 0x103F), (0x1050, 0x108F), (0x109A, 0x109D),  # Myanmar
    (0xA9E0, 0xA9EF), (0xA9FA, 0xA9FE), (0xAA60, 0xAA76), (0xAA7A, 0xAA7F),  # Myanmar, extended
    (0x1780, 0x17D3), (0x17D7, 0x17D7), (0x17DC, 0x17DD),  # Khmer
    (0x1950, 0x1974), (0x1980, 0x19C9),  # Tai Le, New Tai Lue
    (0x1A20, 0x1A7F), (0x1AA7, 0x1AA7),  # Tai Tham
    (0xAA80, 0xAADD), (0x11700, 0x1172F), (0x11740, 0x11746),  # Tai Viet, Ahom
)  # fmt: skip
"""Scripts that Unicode's UAX 14 breaks by a dictionary (class SA)."""

IDEOGRAPHIC = (
    (0x2E80, 0x2FD5), (0x3005, 0x3007), (0x3021, 0x302D), (0x3031, 0x3035), (0x3038, 0x303A),  # Han
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFD),  # Han ideographs
    (0x3041, 0x309F), (0x1B000, 0x1B16F),  # Hiragana, old Kana
    (0x30A1, 0x30FA), (0x30FC, 0x30FF), (0x31F0, 0x31FF),  # Katakana with the mark of long vowels
    (0xFF66, 0xFF9F), (0x1AFF0, 0x1AFFE),  # half-width and Minnan Katakana
    (0x3105, 0x312F), (0x31A0, 0x31BF), (0xA000, 0xA48C),  # Bopomofo, Yi
)  # fmt: skip
"""Scripts that UAX 14 breaks between any two letters (class ID)."""

UNSPACED = (*BY_DICTIONARY, *IDEOGRAPHIC)


def character_class(ranges: tuple[tuple[int, int], ...] = UNSPACED) -> str:
    """One character of these ranges, as a pattern of Python's `re`."""
    return "[" + "".join(rf"\U{first:08x}-\U{last:08x}" for first, last in ranges) + "]"
