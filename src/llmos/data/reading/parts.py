"""How the sources of a preparation are divided: chunks of parts of files, and what went wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


class UnreadableError(Exception):
    """The rest of a file cannot be read; the message is the reason of the `Problem`."""


@dataclass(frozen=True)
class Problem:
    """A source, file or record that was not read; the rest goes on.

    `path` is where, for the member's eyes only. `reason` is one of few: it names no place and
    quotes no text, so that problems can be counted by it.
    """

    path: str
    reason: str


@dataclass(frozen=True)
class Part:
    """A file, or a range of it: what is read by one call of `read_part`."""

    path: str
    name: str
    """Source and path within it, POSIX: the beginning of the ids of its documents."""
    source: str
    """Name of the source, unlike those of the other sources."""
    format: str
    """One of `formats.FORMATS`."""
    start: int
    """Where the part begins: a byte of the file, a row group of a Parquet file."""
    end: int
    """Where it ends, exclusive, in the same unit."""
    licence: str = ""
    """What the nearest card above the file states, for documents that state none themselves."""
    language: str = ""
    """Likewise, where that card names a single language."""
    first: int = 1
    """Number of the first line, row or piece of the part within the file, from 1."""


@dataclass(frozen=True)
class Chunk:
    """The work of one task."""

    number: int
    parts: tuple[Part, ...]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Chunk:
        """The chunk whose `dataclasses.asdict` went through JSON."""
        return cls(value["number"], tuple(Part(**part) for part in value["parts"]))


@dataclass(frozen=True)
class SourceCard:
    """What the cards of a source say (`card.json`, or the front matter of its `README.md`)."""

    source: str
    licence: str = ""
    languages: tuple[str, ...] = ()
    synthetic: bool = False
    revision: str = ""
    """Commit of a data set from a hub."""


@dataclass(frozen=True)
class Plan:
    """All chunks in order, what could not be read, and the card of each source in order."""

    chunks: tuple[Chunk, ...]
    problems: tuple[Problem, ...]
    cards: tuple[SourceCard, ...]

    def to_json(self) -> str:
        """The plan as JSON, the same bytes for the same plan; ASCII, as paths may be no Unicode."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan that `to_json` wrote."""
        value: dict[str, Any] = json.loads(text)
        return cls(
            tuple(Chunk.from_json(chunk) for chunk in value["chunks"]),
            tuple(Problem(**problem) for problem in value["problems"]),
            tuple(
                SourceCard(**{**card, "languages": tuple(card["languages"])})
                for card in value["cards"]
            ),
        )
