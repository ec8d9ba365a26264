"""The plan of a preparation: sources divided into chunks, one task each; and reading its parts.

Ids do not depend on how files are divided: a whole text has the name of its file for an id, a
record that name, a colon and a number from 1 on: that of its first line (in tables and JSON Lines),
row (Parquet), piece (of a long text) or record (all others).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from llmos.data.reading.finding import Found, find, printable, unreadable
from llmos.data.reading.formats import SPLIT_AT_LINES, alignment, kind_of, partner
from llmos.data.reading.hub import fetch, is_hub_id
from llmos.data.reading.parquet import row_groups
from llmos.data.reading.parts import (
    Chunk,
    Part,
    Plan,
    Problem,
    SourceCard,
    UnreadableError,
)
from llmos.data.reading.readers import read_part
from llmos.data.reading.splitting import looks_like_text, split_at_lines, split_at_pieces
from llmos.data.reading.streams import LONGEST, blocks, compressed
from llmos.errors import DataError

__all__ = ["Chunk", "Part", "Plan", "Problem", "SourceCard", "plan", "read_part"]

LIMIT = 64 << 20
"""bytes of a chunk, before it is expanded."""
EXPANSION = 4
"""Text is about so many times its compressed size."""

EMPTY = "an empty file"
NOT_READ = "not a format that is read"
NOT_TEXT = "not a format that is read, nor text"
NO_PARTNER = "the other one of two aligned files is not there"
TWICE = "given twice as a source"


def plan(sources: Sequence[str], *, limit: int = LIMIT) -> Plan:
    """Divide sources, each a folder, a file or a hub's name for a data set, into chunks.

    A chunk has files or parts of files of about `limit` bytes together. The order is that of the
    sources, then of paths. What cannot be read is among the plan's problems.
    Raises `DataError` where nothing can be read at all.
    """
    chunks = _Chunks(limit)
    problems: list[Problem] = []
    cards: list[SourceCard] = []
    names: set[str] = set()
    seen: set[Path] = set()
    for source in sources:
        try:
            path, name, revision = _located(source)
        except DataError as error:
            problems.append(Problem(source, str(error)))
            continue
        if path.resolve() in seen:
            problems.append(Problem(source, TWICE))
            continue
        seen.add(path.resolve())
        name = _unlike(printable(PurePath(name)), names)
        names.add(name)
        found = find(path)
        problems += found.problems
        cards.append(found.card(name, revision))
        for file in found.files:
            within = "" if file == path else f"/{printable(file.relative_to(path))}"
            try:
                for part, weight in _parts(file, f"{name}{within}", name, found, limit):
                    chunks.add(part, weight)
            except UnreadableError as error:
                problems.append(Problem(str(file), str(error)))
            except OSError as error:
                problems.append(unreadable(file, error))
    if not chunks.chunks:
        raise _nothing(sources, problems)
    return Plan(tuple(chunks.chunks), tuple(problems), tuple(cards))


class _Chunks:
    """Parts one after another, gathered into chunks."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[Part] = []
        self._weight = 0
        self._done: list[Chunk] = []

    def add(self, part: Part, weight: int) -> None:
        if self._weight + weight > self._limit:
            self._close()
        self._parts.append(part)
        self._weight += weight

    @property
    def chunks(self) -> list[Chunk]:
        self._close()
        return self._done

    def _close(self) -> None:
        if self._parts:
            self._done.append(Chunk(len(self._done), tuple(self._parts)))
        self._parts, self._weight = [], 0


def _located(source: str) -> tuple[Path, str, str]:
    """Where a source lies, its name, and its commit if it comes from a hub."""
    path = Path(source)
    if not path.exists() and not path.is_symlink() and is_hub_id(source):
        folder = fetch(source)
        return folder, source, folder.name
    return path, path.resolve().name or "root", ""


def _unlike(name: str, taken: set[str]) -> str:
    """A name that no other source has."""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found


def _parts(
    file: Path, name: str, source: str, found: Found, limit: int
) -> Iterator[tuple[Part, int]]:
    """The parts of a file, with the bytes that each stands for.

    Raises `UnreadableError` and `OSError` for a file that is not read.
    """
    path = str(file)
    kind = kind_of(file.name)
    size = file.stat().st_size
    if not kind.format:
        raise UnreadableError(NOT_READ)
    if size == 0:
        raise UnreadableError(EMPTY)
    if not kind.sure and not looks_like_text(next(blocks(path), b"")):
        raise UnreadableError(NOT_TEXT)
    card = found.card_of(file)
    language = card.languages[0] if len(card.languages) == 1 else ""

    def part(start: int, end: int, first: int = 1, form: str = kind.format) -> Part:
        return Part(path, name, source, form, start, end, card.licence, language, first)

    if kind.format == "aligned":
        stem = alignment(file.name)
        assert stem
        if not Path(partner(path)).is_file():
            raise UnreadableError(NO_PARTNER)
        if stem.language == stem.source:  # the other file goes with this one
            yield part(0, size), 2 * size * (EXPANSION if compressed(path) else 1)
    elif kind.format == "parquet":
        for start, end, first, weight in row_groups(path, limit):
            yield part(start, end, first), weight
    elif compressed(path):
        yield part(0, size), EXPANSION * size
    elif kind.format in SPLIT_AT_LINES and size > limit:
        for start, end, first in split_at_lines(path, size, limit, kind.format == "csv"):
            yield part(start, end, first), end - start
    elif kind.format == "text" and size > LONGEST:
        for start, end, first in split_at_pieces(path, size, limit):
            yield part(start, end, first, "pieces"), end - start
    else:
        yield part(0, size), size


def _nothing(sources: Sequence[str], problems: Sequence[Problem]) -> DataError:
    if len(problems) == 1:
        problem = problems[0]
        told = problem.path in problem.reason  # as the errors of a hub do
        return DataError(
            problem.reason if told else f"{problem.path}: {problem.reason}: give another source"
        )
    reasons = "; ".join(f"{p.path}: {p.reason}" for p in problems[:3])
    more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
    seen = f" ({reasons}{more})" if problems else ""
    return DataError(
        f"nothing to read in {', '.join(sources) or 'no source'}{seen}: give folders or files of "
        "text, or of JSON Lines, CSV, TSV, Parquet, WARC, gettext or TMX"
    )
