"""Statements that run with every request or commit, without what SQLAlchemy does on each execution.

SQLAlchemy compiles a statement once, but then takes ten times as long to run it as SQLite does.
Here its text and the conversions of values are worked out once for each kind of database, by
SQLAlchemy too, and the driver is asked directly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, Insert, Row, Select, Update
from sqlalchemy.engine import result_tuple
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.schema import ScalarElementColumnDefault
from sqlalchemy.types import TypeEngine

Values = Mapping[str, Any]
Convert = Callable[[Any], Any]
_NONE: Values = {}


class Prepared:
    """A statement whose values are given by name; an insert takes rows, or parts of rows, of its
    table. It begins no transaction: outside of one, it sees its own moment."""

    def __init__(self, statement: Select[Any] | Insert | Update) -> None:
        """No lists of values (`in_`): a statement has one text."""
        self._statement = statement
        self._compiled: dict[tuple[str, ...], _Compiled] = {}
        self._inserts = isinstance(statement, Insert)

    def all(self, connection: Connection, values: Values = _NONE) -> list[Row[Any]]:
        """The rows that it finds."""
        compiled = self._for(connection.dialect, values)
        return [compiled.row(one) for one in compiled.run(connection, values).fetchall()]

    def first(self, connection: Connection, values: Values = _NONE) -> Row[Any] | None:
        """The first row that it finds; None when there is none."""
        rows = self.all(connection, values)
        return rows[0] if rows else None

    def run(self, connection: Connection, values: Values = _NONE) -> int:
        """Run it and return how many rows it wrote."""
        return int(self._for(connection.dialect, values).run(connection, values).rowcount)

    def run_all(self, connection: Connection, rows: Sequence[Values]) -> None:
        """Run it with each of these, which all name the same values; there must be one."""
        self._for(connection.dialect, rows[0]).run_all(connection, rows)

    def _for(self, dialect: Dialect, values: Values) -> _Compiled:
        key = (dialect.name, *values) if self._inserts else (dialect.name,)
        compiled = self._compiled.get(key)
        if compiled is None:
            compiled = self._compiled[key] = _Compiled(self._statement, dialect, list(values))
        return compiled


class _Compiled:
    """A statement for one kind of database."""

    def __init__(
        self, statement: Select[Any] | Insert | Update, dialect: Dialect, given: list[str]
    ) -> None:
        defaults: dict[str, Any] = {}
        if isinstance(statement, Insert):
            defaults = {
                one.key: one.default.arg
                for one in statement.table.columns
                if isinstance(one.default, ScalarElementColumnDefault) and one.key not in given
            }
            compiled = statement.compile(dialect=dialect, column_keys=[*given, *defaults])
        else:
            compiled = statement.compile(dialect=dialect)
        self._text = str(compiled)
        self._fixed = {**compiled.params, **defaults}
        self._order = compiled.positiontup
        self._converts = [
            (name, convert)
            for bind, name in compiled.bind_names.items()
            if (convert := _type(bind.type, dialect).bind_processor(dialect))
        ]
        self._loads: list[Convert | None] = []
        if isinstance(statement, Select):
            shown = statement.selected_columns
            self._loads = [
                _type(one.type, dialect).result_processor(dialect, None) for one in shown
            ]
            self._row = result_tuple([str(one.key) for one in shown])

    def row(self, found: Sequence[Any]) -> Row[Any]:
        """A row as SQLAlchemy would give it."""
        pairs = zip(self._loads, found, strict=True)
        return self._row([load(value) if load else value for load, value in pairs])

    def run(self, connection: Connection, values: Values) -> Any:
        """The driver's cursor after the statement."""
        return self._asked(connection, "execute", self._given(values))

    def run_all(self, connection: Connection, rows: Sequence[Values]) -> None:
        """The statement once for each row."""
        self._asked(connection, "executemany", [self._given(row) for row in rows])

    def _asked(self, connection: Connection, how: str, given: Any) -> Any:
        cursor = connection.connection.cursor()
        errors = connection.dialect.loaded_dbapi.Error
        try:
            getattr(cursor, how)(self._text, given)
        except errors as error:
            raise DBAPIError.instance(
                self._text, None, error, errors, hide_parameters=True, dialect=connection.dialect
            ) from error
        return cursor

    def _given(self, values: Values) -> Any:
        given = {**self._fixed, **values}
        for name, convert in self._converts:
            given[name] = convert(given[name])
        return given if self._order is None else [given[name] for name in self._order]


def _type(kind: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    return kind.dialect_impl(dialect)
