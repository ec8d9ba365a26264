"""Counts of one task, which add up over all tasks to those of the data card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from llmos.data.documents import Document


@dataclass
class Tally:
    """Every count is of documents, except those named otherwise; all of them can be added."""

    read: Counter[str] = field(default_factory=Counter)
    """Documents and bytes (of UTF-8) read, by source: "documents/NAME", "bytes/NAME"."""
    dropped: Counter[str] = field(default_factory=Counter)
    """By reason."""
    changed: Counter[str] = field(default_factory=Counter)
    """What the steps did besides: masked, repaired, told otherwise than the record did."""
    kept: Counter[str] = field(default_factory=Counter)
    """Documents, bytes and characters kept by source and language: "documents/NAME/CODE"."""
    licences: Counter[str] = field(default_factory=Counter)
    """Documents kept by licence, "" for none stated."""
    lengths: Counter[str] = field(default_factory=Counter)
    """Documents kept whose text has a number of bytes of so many bits (`int.bit_length`)."""

    def take(self, document: Document) -> None:
        """Count a document that is kept."""
        size = len(document.text.encode())
        where = f"{document.source}\t{document.language}"
        self.kept[f"documents\t{where}"] += 1
        self.kept[f"bytes\t{where}"] += size
        self.kept[f"characters\t{where}"] += len(document.text)
        self.licences[document.licence] += 1
        self.lengths[str(size.bit_length())] += 1

    def to_json(self) -> dict[str, dict[str, int]]:
        """All counts, their keys sorted."""
        return {f.name: dict(sorted(getattr(self, f.name).items())) for f in fields(self)}

    @classmethod
    def added(cls, tallies: Iterable[dict[str, Any]]) -> Tally:
        """The sum of tallies that `to_json` wrote."""
        total = cls()
        for tally in tallies:
            for f in fields(cls):
                getattr(total, f.name).update(tally.get(f.name, {}))
        return total
