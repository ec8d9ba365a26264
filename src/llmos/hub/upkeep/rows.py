"""A database as lines of JSON: one per row, tables in the order in which they refer to each other.

The same for SQLite and PostgreSQL, so that a backup of one can be restored into the other.
"""

from __future__ import annotations

import base64
import gzip
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, LargeBinary, MetaData, Table, func, select, text

from llmos.hub.database.tables import metadata
from llmos.hub.upkeep.marking import batches

AT_ONCE = 500


def write_rows(connection: Connection, file: Path) -> dict[str, int]:
    """Write all rows to a file (gzip) and return how many each table has."""
    counts: dict[str, int] = {}
    with gzip.open(file, "wb", compresslevel=1) as out:
        for table in metadata.sorted_tables:
            counts[table.name] = 0
            names = [str(column.name) for column in table.columns]
            binary = _binary(table)
            rows = connection.execute(select(table), execution_options={"yield_per": AT_ONCE})
            for row in rows:
                values = dict(zip(names, row, strict=True))
                for name in binary:
                    values[name] = base64.b64encode(values[name]).decode()
                out.write(orjson.dumps([table.name, values]) + b"\n")
                counts[table.name] += 1
    return counts


def read_rows(connection: Connection, file: Path) -> dict[str, int]:
    """Add all rows of such a file to empty tables of the same revision; how many each got."""
    tables = MetaData()
    tables.reflect(connection)
    counts: Counter[str] = Counter()
    with gzip.open(file, "rb") as lines:
        for some in batches(map(orjson.loads, lines), AT_ONCE):
            for name, values in _by_table(some):
                table = tables.tables[name]
                for column in _binary(table):
                    for row in values:
                        row[column] = base64.b64decode(row[column])
                connection.execute(table.insert(), values)
                counts[name] += len(values)
    if connection.dialect.name == "postgresql":
        _go_on_counting(connection, tables)
    return dict(counts)


def _by_table(lines: list[list[Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    names = list(dict.fromkeys(name for name, _ in lines))
    for name in names:
        yield name, [values for one, values in lines if one == name]


def _binary(table: Table) -> list[str]:
    return [str(column.name) for column in table.columns if isinstance(column.type, LargeBinary)]


def _go_on_counting(connection: Connection, tables: MetaData) -> None:
    """PostgreSQL numbers new rows by sequences, which do not see rows that bring their number."""
    for table in tables.sorted_tables:
        if "id" not in table.columns:
            continue
        most = connection.execute(select(func.max(table.c.id))).scalar()
        if most is not None:
            after = text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :most)")
            connection.execute(after, {"name": table.name, "most": most})
