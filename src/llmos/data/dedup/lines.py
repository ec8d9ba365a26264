"""Lines that stand in many documents: menus, notices, licence headers.

Lines are compared as they are, but for spaces at their ends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection

import numpy as np

from llmos.data.dedup.hashing import Hashes

LEAST = 10
"""Characters of the shortest line that is looked at: FineWeb's experiments (arXiv 2406.17557, 3.4)
asked for 10 words, but there a line went when it stood in two documents. Here the recipe says in
how many, and most lines of that kind are shorter; brackets and dashes of code and tables are not.
"""


def line_hashes(text: str) -> Hashes:
    """The hashes of the different lines of a text, sorted."""
    hashes = {_hash(line) for line in map(str.strip, text.split("\n")) if len(line) >= LEAST}
    return np.sort(np.frombuffer(b"".join(hashes), np.dtype("<u8")))


def without_lines(text: str, hashes: Collection[int]) -> str:
    """The text without the lines that have one of these hashes."""
    return "\n".join(
        line
        for line in text.split("\n")
        if len(bare := line.strip()) < LEAST or int.from_bytes(_hash(bare), "little") not in hashes
    )


def _hash(line: str) -> bytes:
    return hashlib.blake2b(line.encode("utf-8", "surrogatepass"), digest_size=8).digest()
