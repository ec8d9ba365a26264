"""Files of one record a line or row: JSON Lines, CSV, TSV; and SQuAD's questions."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmos.data.documents import Document
from llmos.data.reading.encodings import REPLACED, decode
from llmos.data.reading.parts import Part, Problem, UnreadableError
from llmos.data.reading.streams import LONGEST, TOO_LONG, Lines, blocks, whole
from llmos.data.reading.texts import NO_TEXT
from llmos.data.records import RECORDS, PassedOverError
from llmos.data.rows import (
    COLUMNS_ADVICE,
    TABS_ADVICE,
    RecordError,
    Row,
    csv_error,
    json_row,
    squad,
    table_columns,
    table_row,
)
from llmos.recipe import DataSection

ONLY_SQUAD = "JSON is read as SQuAD's questions only: write a record a line, as .jsonl"
NUL = "holds NUL bytes"


def made(row: Row, data: DataSection, record: str) -> Document | Problem:
    """What becomes of a record."""
    try:
        found = RECORDS[record](row, data)
    except PassedOverError as error:
        return Problem(f"{row.file} {row.place}", str(error))
    except RecordError as error:
        return wrong(row.file, error)
    if not found.text.strip():
        return Problem(f"{row.file} {row.place}", NO_TEXT)
    return found


def wrong(file: Path, error: RecordError) -> Problem:
    """The same as a problem."""
    return Problem(f"{file} {error.place}".rstrip(), error.reason)


def read_json_lines(part: Part, data: DataSection, record: str) -> Iterator[Document | Problem]:
    """A record a line."""
    import orjson

    file = Path(part.path)
    lines = Lines(part)
    for number, line in lines:
        if line is None:
            yield Problem(f"{file} line {number}", TOO_LONG)
        elif line and not line.isspace():
            try:
                row = json_row(line, file, part.name, number, orjson.loads)
            except RecordError:
                try:  # orjson refuses bytes that are not UTF-8
                    row = json_row(lines.text(line), file, part.name, number, orjson.loads)
                except RecordError as error:
                    yield wrong(file, error)
                    continue
            yield made(row, data, record)
    yield from lines.problems()


def read_csv(part: Part, data: DataSection, record: str) -> Iterator[Document | Problem]:
    """Records by RFC 4180, which may go over several lines."""
    yield from _table(part, data, record, _csv_records, COLUMNS_ADVICE)


def read_tsv(part: Part, data: DataSection, record: str) -> Iterator[Document | Problem]:
    """A record a line; quotes are text."""
    yield from _table(part, data, record, _tsv_records, TABS_ADVICE)


def read_json(part: Part, data: DataSection, record: str) -> Iterator[Document | Problem]:
    """The questions of a file in SQuAD's format."""
    if record != "question":
        raise UnreadableError(ONLY_SQUAD)
    text, replaced = decode(whole(blocks(part.path)))
    if replaced:
        yield Problem(part.path, REPLACED)
    for row in squad(text, Path(part.path), part.name):
        yield made(row, data, record)


Records = Iterator[tuple[int, list[str]] | Problem]


def _table(
    part: Part,
    data: DataSection,
    record: str,
    records: Callable[[Part], Records],
    advice: str,
) -> Iterator[Document | Problem]:
    file = Path(part.path)
    columns: list[str] = _columns(part, records) if part.start else []
    for found in records(part):
        if isinstance(found, Problem):
            yield found
            continue
        number, fields = found
        if not any(fields):
            continue
        if not columns:
            columns = table_columns(fields, file)
            continue
        try:
            row = table_row(columns, fields, file, part.name, number, advice)
        except RecordError as error:
            yield wrong(file, error)
        else:
            yield made(row, data, record)


def _columns(part: Part, records: Callable[[Part], Records]) -> list[str]:
    """The names in the first line of a file of which `part` is a later part."""
    for found in records(replace(part, start=0, end=part.start, first=1)):
        if not isinstance(found, Problem) and any(found[1]):
            return table_columns(found[1], Path(part.path))
    return []


def _tsv_records(part: Part) -> Records:
    for number, text in _decoded(part):
        if isinstance(text, Problem):
            yield text
        else:
            yield number, text.removesuffix("\n").removesuffix("\r").split("\t")


def _csv_records(part: Part) -> Records:
    """Records, and a problem for each that breaks the rules; after it, the next line begins one."""
    problems: list[Problem] = []

    def physical_lines() -> Iterator[str]:
        for _, text in _decoded(part):
            if isinstance(text, Problem):
                problems.append(text)
                yield ""
            elif "\r" in text:
                yield from io.StringIO(text, newline="")  # carriage returns end lines too
            else:
                yield text

    reader = csv.reader(physical_lines(), strict=True)
    number = part.first
    before = csv.field_size_limit(LONGEST)  # characters; the usual limit is 131,072
    try:
        while True:
            found: Any = None
            try:
                found = next(reader, None)
            except csv.Error as error:
                problems.append(wrong(Path(part.path), csv_error(error, Path(part.path), number)))
            yield from problems
            if found is None and not problems:
                return
            if found is not None and not problems:  # a record with a bad line is none
                yield number, found
            problems.clear()
            number = part.first + reader.line_num
    finally:
        csv.field_size_limit(before)


def _decoded(part: Part) -> Iterator[tuple[int, str | Problem]]:
    """Lines with their ends, and problems in place of those that cannot be read."""
    lines = Lines(part)
    for number, line in lines:
        if line is None:
            yield number, Problem(f"{part.path} line {number}", TOO_LONG)
        elif b"\0" in line:
            yield number, Problem(f"{part.path} line {number}", NUL)
        else:
            yield number, f"{lines.text(line)}\n"
    for problem in lines.problems():
        yield 0, problem
