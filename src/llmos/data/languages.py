"""Which documents are of one language, as far as their source and their letters tell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from posixpath import dirname

import numpy as np
import numpy.typing as npt

from llmos.data.documents import Document

SAMPLE = 4000
"""Characters at the beginning of a text by which its script is told."""
SHARE = 0.1
"""Latin letters are in every text (names, links, code), Chinese ones in Japanese: from this share
of a text's letters on, another script goes before them."""

_BLOCKS = (
    (0x41, "Latin"), (0x370, "Greek"), (0x400, "Cyrillic"), (0x530, "Armenian"), (0x590, "Hebrew"),
    (0x600, "Arabic"), (0x700, "other"), (0x900, "Devanagari"), (0x980, "Bengali"),
    (0xA00, "Gurmukhi"), (0xA80, "Gujarati"), (0xB00, "Odia"), (0xB80, "Tamil"), (0xC00, "Telugu"),
    (0xC80, "Kannada"), (0xD00, "Malayalam"), (0xD80, "Sinhala"), (0xE00, "Thai"), (0xE80, "Lao"),
    (0xF00, "Tibetan"), (0x1000, "Myanmar"), (0x10A0, "Georgian"), (0x1100, "Hangul"),
    (0x1200, "Ethiopic"), (0x13A0, "other"), (0x1780, "Khmer"), (0x1800, "other"),
    (0x1E00, "Latin"), (0x1F00, "Greek"), (0x2000, ""), (0x2E80, "Han"), (0x3000, ""),
    (0x3041, "Kana"), (0x3100, "other"), (0x3130, "Hangul"), (0x3190, "other"), (0x3400, "Han"),
    (0xA000, "other"), (0xAC00, "Hangul"), (0xD7B0, ""), (0xF900, "Han"), (0xFB00, "Latin"),
    (0xFB1D, "Hebrew"), (0xFB50, "Arabic"), (0xFE00, ""), (0xFE70, "Arabic"), (0xFF00, ""),
    (0xFF66, "Kana"), (0xFFA0, "Hangul"), (0xFFE0, ""), (0x10000, "other"), (0x20000, "Han"),
    (0x32000, ""),
)  # fmt: skip
"""Where each script begins in Unicode; signs and digits, the first and those named "", are none."""
_STARTS = np.array([0, *(start for start, _ in _BLOCKS)])
_NAMES = ("", *(name for _, name in _BLOCKS))


def script_of(text: str) -> str:
    """The script that most of a text's letters are of; "" for a text without letters."""
    letters = "".join(filter(str.isalpha, text[:SAMPLE]))
    codes = np.frombuffer(letters.encode("utf-32-le"), np.uint32)
    counts: dict[str, int] = defaultdict(int)
    places, times = np.unique(np.searchsorted(_STARTS, codes, side="right") - 1, return_counts=True)
    for place, count in zip(places.tolist(), times.tolist(), strict=True):
        counts[_NAMES[place]] += count
    left = {script: count for script, count in counts.items() if script}
    for common in ("Latin", "Han"):
        others = sum(count for script, count in left.items() if script != common)
        if common in left and others >= SHARE * sum(left.values()):
            del left[common]
    return max(left, key=lambda script: (left[script], script), default="")


def companions(documents: Sequence[Document]) -> list[npt.NDArray[np.int64]]:
    """For each document the indices of those of its language, itself among them.

    The language is what the record says, otherwise the script together with the file of records,
    or the folder of texts, that the document lies in: whoever has texts of several languages in one
    script keeps them in several files or folders. A document alone in its language has those of its
    script for companions, alone in its script all of them. Documents share the arrays.
    """
    scripts = [script_of(document.text) for document in documents]
    levels: list[list[Hashable]] = [
        [
            document.language or (script, _place(document.id))
            for document, script in zip(documents, scripts, strict=True)
        ],
        list(scripts),
        [""] * len(documents),
    ]
    found: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)] * len(documents)
    for groups in levels:
        members: dict[Hashable, list[int]] = defaultdict(list)
        for index, group in enumerate(groups):
            members[group].append(index)
        arrays = {group: np.array(indices, np.int64) for group, indices in members.items()}
        for index, group in enumerate(groups):
            if len(found[index]) < 2:
                found[index] = arrays[group]
    return found


def _place(identifier: str) -> str:
    """The file of a record, or the folder of a text file (see `sources.read_source`)."""
    whole = identifier.partition("#")[0]  # of a part (see `documents.cut`)
    file, colon, number = whole.rpartition(":")
    return file if colon and number.isdigit() else dirname(whole)
