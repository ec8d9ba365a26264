"""Text that was decoded by the wrong encoding ("dÃ©jÃ  vu"), put right line by line by ftfy.

ftfy (https://ftfy.readthedocs.io, Speer 2019, doi 10.5281/zenodo.2591652) changes a line only where
its regular expression of unlikely neighbours matches, and that expression is slow (5 MB/s). Here it
is looked for only near the characters that every match holds; what comes out is the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

REACH = 6
"""Characters that a match of ftfy's expression has at most."""


def mend_mojibake(text: str) -> str:
    """`text` with `ftfy.fix_encoding` applied to each of its lines, which end in a line feed."""
    if text.isascii():
        return text
    suspect, bad, fix = _ftfy()
    pieces: list[str] = []
    done = 0
    end = 0
    for hit in suspect.finditer(text):
        at = hit.start()
        if at < end:
            continue
        near = max(0, at - REACH)
        near = text.rfind("\n", near, at) + 1 or near
        if not bad.search(text[near : at + REACH]):
            continue
        start = text.rfind("\n", 0, at) + 1
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        pieces += text[done:start], fix(text[start:end])
        done = end
    return "".join(pieces) + text[done:] if pieces else text


@cache
def _ftfy() -> tuple[re.Pattern[str], re.Pattern[str], Callable[[str], str]]:
    """What every match holds a character of, ftfy's expression, and its repair."""
    from ftfy import fix_encoding
    from ftfy.badness import BADNESS_RE, MOJIBAKE_CATEGORIES

    kinds = MOJIBAKE_CATEGORIES
    rare = "ÙŒœ‚Ђ" + "".join(
        kinds[kind] for kind in ("c1", "bad", "upper_accented", "box", "currency", "numeric", "law")
    )
    # Quotation marks stand in all texts; in a match without a character of the above they stand
    # beside one of these.
    marks = kinds["start_punctuation"] + kinds["end_punctuation"] + "°"
    beside = kinds["lower_accented"] + "ВГРСΒΓΞΟ"
    suspect = re.compile(f"[{rare}{marks}](?:(?<=[{rare}])|(?<=[{beside}].)|(?=[{beside}]))")
    return suspect, BADNESS_RE, fix_encoding
