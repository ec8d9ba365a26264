"""The records of a file as they stand there: JSON Lines, CSV, TSV, and SQuAD's JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmos.errors import DataError

_NAMES_SHOWN = 8
COLUMNS_ADVICE = "put fields that hold commas into quotes"
TABS_ADVICE = "take tabs and line breaks out of its fields, or save it as .csv"


class RecordError(DataError):
    """A record that cannot be used."""

    place: str = ""
    reason: str = ""
    """What is wrong with it, without its place and any of its text: records are counted by it."""


def record_error(
    file: Path, place: str, problem: str, advice: str, reason: str = ""
) -> RecordError:
    """What is wrong at a place of `file`, or as a whole, and the next step.

    `problem` may quote the record; `reason` says it without a quote, by default it is the problem.
    """
    error = RecordError(f"{f'{file} {place}'.rstrip()} {problem}: {advice}")
    error.place, error.reason = place, reason or problem
    return error


@dataclass(frozen=True)
class Row:
    """One record of a file. `place` says where in words, `id` is the member's own name for it."""

    file: Path
    place: str
    id: str
    values: Mapping[str, Any]

    def text(self, name: str, advice: str, *, or_number: bool = False) -> str:
        """The text in the field `name`; a number or truth value there as JSON writes it, if told.

        Raises `DataError` where there is none, with `advice` as the next step.
        """
        value = self.values.get(name)
        if or_number and isinstance(value, bool | int):
            value = json.dumps(value)
        if not isinstance(value, str):
            reason = f"has no text in the field {name!r}"
            raise self.error(f"{reason} ({self._instead(name)})", advice, reason)
        try:
            if not value.isascii():  # which costs nothing, and spares a copy
                value.encode()
        except UnicodeEncodeError as error:
            problem = "holds half of a surrogate pair (broken Unicode)"
            raise self.error(problem, "repair it") from error
        return value

    def error(self, problem: str, advice: str, reason: str = "") -> RecordError:
        """What is wrong at this place (see `record_error`)."""
        return record_error(self.file, self.place, problem, advice, reason)

    def _instead(self, name: str) -> str:
        """What is there. Only the beginning of each name: it may be a text itself."""
        if name in self.values:
            return f"but {json.dumps(self.values[name])[:24]}"
        names = [repr(str(name)[:24]) for name in list(self.values)[:_NAMES_SHOWN]]
        more = ", ..." if len(self.values) > _NAMES_SHOWN else ""
        return f"it has {', '.join(names) or 'no fields'}{more}"


def json_lines(content: str, file: Path, name: str) -> Iterator[Row]:
    """One record a line; blank lines are none. Only a newline ends a line."""
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            yield json_row(line, file, name, number, json.loads)


def json_row(
    line: str | bytes, file: Path, name: str, number: int, loads: Callable[[str | bytes], Any]
) -> Row:
    """The record on one line of JSON Lines. Raises `RecordError`."""
    try:
        record = loads(line)
    except (ValueError, RecursionError) as error:
        reason = "is not a JSON record"
        raise record_error(
            file, f"line {number}", f"{reason} ({error})", "repair or remove that line", reason
        ) from error
    values = record if isinstance(record, dict) else {}
    return Row(file, f"line {number}", f"{name}:{number}", values)


def comma_separated(content: str, file: Path, name: str) -> Iterator[Row]:
    """CSV (RFC 4180) whose first line names the columns. A quoted field may hold newlines."""
    lines: list[tuple[int, list[str]]] = []
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    number = 1
    usual = csv.field_size_limit(2**31 - 1)  # the usual one is 131,072 characters a field
    try:
        for line in reader:
            lines.append((number, line))
            number = reader.line_num + 1
    except csv.Error as error:
        raise csv_error(error, file, number) from error
    finally:
        csv.field_size_limit(usual)
    yield from _table(lines, file, name, COLUMNS_ADVICE)


def csv_error(error: csv.Error, file: Path, number: int) -> RecordError:
    """What a record that begins on line `number` is for breaking the rules of CSV."""
    advice = (
        "put a field with quotes, commas or line breaks into quotes, and double each quote "
        'within it ("")'
    )
    return record_error(file, f"line {number}", f"is not CSV ({error})", advice, "is not CSV")


def tab_separated(content: str, file: Path, name: str) -> Iterator[Row]:
    """Fields with a tab between them (IANA text/tab-separated-values), named by the first line.

    Quotes are text: such files of sentences have them unpaired. So no field holds a tab or newline.
    """
    lines = [line.removesuffix("\r").split("\t") for line in content.split("\n")]
    yield from _table(enumerate(lines, start=1), file, name, TABS_ADVICE)


def _table(
    lines: Iterable[tuple[int, list[str]]], file: Path, name: str, advice: str
) -> Iterator[Row]:
    columns: list[str] = []
    for number, fields in lines:
        if not any(fields):
            continue
        if columns:
            yield table_row(columns, fields, file, name, number, advice)
        else:
            columns = table_columns(fields, file)


def table_columns(fields: Sequence[str], file: Path) -> list[str]:
    """The names of the columns, from the first line. Raises `RecordError` for one given twice."""
    columns = [column.strip() for column in fields]
    doubled = sorted({column for column in columns if column and columns.count(column) > 1})
    if doubled:
        raise record_error(
            file,
            "",
            f"has two columns named {doubled[0][:24]!r}",
            "rename one of them",
            "has two columns of one name",
        )
    return columns


def table_row(
    columns: Sequence[str], fields: Sequence[str], file: Path, name: str, number: int, advice: str
) -> Row:
    """The record that begins on line `number` of a table. Raises `RecordError`."""
    if len(fields) != len(columns):
        raise record_error(
            file,
            f"line {number}",
            f"has {len(fields)} fields, but the first line names {len(columns)}",
            advice,
            "has more or fewer fields than the first line names",
        )
    values = dict(zip(columns, fields, strict=True))
    return Row(file, f"line {number}", f"{name}:{number}", values)


def squad(content: str, file: Path, name: str) -> Iterator[Row]:
    """The questions of a file in SQuAD's format (arXiv 1606.05250, 1806.03822).

    Each has the fields context, question and answers, a list of {text, answer_start}.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        problem = f"is not JSON ({error})"
        raise record_error(file, "", problem, "repair it", "is not JSON") from error
    number = 0
    whole = Row(file, "as a whole", name, found if isinstance(found, dict) else {})
    for article in _list(whole, "data"):
        for paragraph in _list(article, "paragraphs"):
            for question in _list(paragraph, "qas"):
                number += 1
                values = {**whole.values, **article.values, **paragraph.values, **question.values}
                yield Row(file, question.place, f"{name}:{number}", values)


def _list(row: Row, name: str) -> Iterator[Row]:
    """The objects in the list `name` of `row`."""
    found = row.values.get(name)
    if not isinstance(found, list) or not all(isinstance(value, dict) for value in found):
        raise row.error(
            f"has no list of objects {name!r}",
            "write SQuAD's format (data, paragraphs, qas), or one question a line in .jsonl",
        )
    before = "" if row.place == "as a whole" else f"{row.place}."
    for index, value in enumerate(found):
        yield Row(row.file, f"{before}{name}[{index}]", row.id, value)


Reader = Callable[[str, Path, str], Iterator[Row]]
ROWS: dict[str, Reader] = {
    ".jsonl": json_lines,
    ".csv": comma_separated,
    ".tsv": tab_separated,
}
"""How files of each suffix are read, whatever their records are."""
