"""Drop what a member never wants to be trained on, by patterns of its own, and prove it is gone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from llmos.data.documents import Document
from llmos.data.prepared import document_files, records
from llmos.data.protection.patterns import Patterns
from llmos.data.steps.step import Drop


class Protected:
    """Drops "protected": a pattern matches in the text, in a field or in the address.

    `path` is a file of patterns (see `llmos.data.protection.patterns`). Counts for each pattern the
    documents in which it matched, by the number of its line: "protected_line_7". Raises `DataError`
    for a line that is no pattern.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.patterns = Patterns.load(Path(path))

    def __reduce__(self) -> tuple[type[Protected], tuple[str]]:
        return Protected, (self.path,)

    def __call__(self, document: Document, counts: Counter[str]) -> Document | Drop:
        """The document, or that it is protected."""
        found = self.patterns.lines(document.text, document.url, *document.fields.values())
        counts.update(f"protected_line_{line}" for line in found)
        return Drop("protected") if found else document


def pattern_count(path: Path) -> int:
    """How many patterns a file holds. Raises `DataError` for a line that is none."""
    return len(Patterns.load(path).expressions)


def prove(folder: Path, path: Path) -> int:
    """How many documents of a prepared folder a pattern of the file `path` still matches in.

    All strings of all written records are searched once more, whatever was done to them since.
    Raises `DataError` for a damaged file.
    """
    patterns = Patterns.load(path)
    return sum(
        bool(patterns.lines(*record.strings()))
        for file in document_files(folder)
        for record in records(file)
    )
