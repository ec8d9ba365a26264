"""A text as the patterns see it: one byte a character, digits and separators of all scripts alike.

Offsets stay those of the text, so that what is found in a view is a span of the text.

| character                                         | in `plain`          | in `shape` |
|---------------------------------------------------|---------------------|------------|
| ASCII                                             | itself              |            |
| decimal digit of any script (Unicode Nd)          | 0 to 9              | 9          |
| full-width letter and some full-width punctuation | its ASCII companion |            |
| spaces (Zs); hyphens, en dash, minus              | space; -            | the same   |
| Latin, Greek or Cyrillic letter outside ASCII     | ÿ                   | a          |
| A to Z; a to z and _                              | itself              | A; a       |
| anything else                                     | ?                   | ?          |

Letters of other scripts end a number: Chinese or Thai has no space before one, Korean writes
particles right behind it.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 20
"""Characters that are folded at once, so that a long text needs little more memory."""
_FULL_WIDTH = "＠．－＋（）／：＿％"
_HYPHENS = "\u00ad\u2010\u2011\u2012\u2013\u2212\ufe63"
_ALPHABETS = ("LATIN ", "GREEK ", "CYRILLIC ")
_SHAPE = bytes(
    ord("9") if chr(byte).isdecimal()
    else ord("A") if 65 <= byte <= 90
    else ord("a") if 97 <= byte <= 122 or byte in b"_\xff"
    else byte
    for byte in range(256)
)  # fmt: skip


class View(NamedTuple):
    """A text with its two simpler forms, all three of the same length."""

    text: str
    plain: str
    shape: str


def view_of(text: str) -> View:
    """What the patterns look at."""
    if text.isascii():
        raw, plain = text.encode(), text
    else:
        blocks = range(0, len(text), _BLOCK)
        raw = b"".join(_folded(text[at : at + _BLOCK]) for at in blocks)
        plain = raw.decode("latin-1")
    return View(text, plain, raw.translate(_SHAPE).decode("latin-1"))


def _folded(block: str) -> bytes:
    codes = np.frombuffer(block.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    return _table()[np.minimum(codes, 0xFFFF)].tobytes()


@cache
def _table() -> NDArray[np.uint8]:
    """The byte of each character of the basic plane; its last place stands for all beyond it."""
    return np.frombuffer("".join(map(_fold, map(chr, range(0x10000)))).encode("latin-1"), np.uint8)


def _fold(character: str) -> str:
    if character.isascii():
        return character
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    if character in _HYPHENS:
        return "-"
    kind = unicodedata.category(character)
    if kind == "Zs":
        return " "
    name = unicodedata.name(character, "")
    if character in _FULL_WIDTH or name.startswith("FULLWIDTH LATIN "):
        return chr(ord(character) - 0xFEE0)
    return "ÿ" if kind[0] == "L" and name.startswith(_ALPHABETS) else "?"
