"""The database's tables are what tables.py says, from nothing and from any older revision."""

from __future__ import annotations

import shutil
import sqlite3
import textwrap
from pathlib import Path

import pytest
from sqlalchemy import select

from llmos.errors import UsageError
from llmos.hub.database import migrate
from llmos.hub.database.connection import Database
from llmos.hub.database.tables import accounts, memberships, metadata, tokens

OLDER = Path(__file__).parent / "fixtures" / "hub_0001.sql"


def _url(folder: Path) -> str:
    return f"sqlite:///{folder}/hub.db"


def test_an_empty_database_becomes_what_the_tables_say(tmp_path: Path) -> None:
    migrate.upgrade(_url(tmp_path))
    database = Database(_url(tmp_path))
    with database.read() as connection:
        assert migrate.differences(connection) in ("", "pass")
        assert migrate.current(connection) == migrate.upgrade(_url(tmp_path))
    database.close()


def test_migrations_and_tables_make_the_same_schema(tmp_path: Path) -> None:
    def schema(file: Path) -> set[tuple[object, ...]]:
        with sqlite3.connect(file) as connection:
            found = set()
            for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'"):
                if table == "alembic_version":
                    continue
                for about in ("table_xinfo", "foreign_key_list"):
                    rows = connection.execute(f"PRAGMA {about}({table})")
                    found |= {(table, about, *row[1:]) for row in rows}
                for index in connection.execute(f"PRAGMA index_list({table})"):
                    columns = connection.execute(f"PRAGMA index_info({index[1]})")
                    found.add((table, index[2], *(row[2] for row in columns)))
            return found

    migrate.upgrade(f"sqlite:///{tmp_path}/one.db")
    other = Database(f"sqlite:///{tmp_path}/two.db")
    metadata.create_all(other.engine)
    other.close()

    def plain(rows: set[tuple[object, ...]]) -> set[tuple[object, ...]]:
        return {row[:2] + row[4:] if row[1] == "foreign_key_list" else row for row in rows}

    assert len(schema(tmp_path / "one.db")) > 200
    one, two = (
        {row for row in plain(schema(tmp_path / name)) if row[1] != "foreign_key_list"}
        for name in ("one.db", "two.db")
    )
    assert one == two


def test_a_database_of_the_first_revision_with_content_is_brought_up(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "hub.db") as connection:
        connection.executescript(OLDER.read_text("utf-8"))
        before = _counts(connection)
    assert len(before) > 25 and min(before.values()) >= 1, before
    newest = migrate.upgrade(_url(tmp_path))
    database = Database(_url(tmp_path))
    with database.read() as connection:
        assert migrate.current(connection) == newest
        assert migrate.differences(connection) in ("", "pass")
        names = set(connection.scalars(select(accounts.c.name)))
        assert {"alice", "acme", "root"} <= names
        tokens_kept = connection.execute(select(tokens.c.label)).scalars().all()
        assert "label 1: Äpfel, 苹果" in tokens_kept
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
    database.close()
    with sqlite3.connect(tmp_path / "hub.db") as connection:
        after = _counts(connection)
    assert {name: after.get(name) for name in before} == before


def _counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Rows by table, but for those of which the fixture has none."""
    names = connection.execute("SELECT name FROM sqlite_master WHERE type='table'").fetchall()
    counts = {
        name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
        for (name,) in names
        if not name.startswith("sqlite_")
    }
    return {name: count for name, count in counts.items() if name not in ("trees", "blobs")}


SECOND = '''
"""a second change"""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("accounts") as batch:
        batch.add_column(sa.Column("shoe_size", sa.Integer(), nullable=True))
        batch.alter_column("about", existing_type=sa.Text(), nullable=True)
    {more}
'''


def _scripts(folder: Path, more: str = "") -> Path:
    """The migrations with one more."""
    scripts = folder / "migrations"
    shutil.copytree(migrate.SCRIPTS, scripts)
    text = textwrap.dedent(SECOND).format(head=migrate.newest(), more=more)
    (scripts / "versions" / "9999_second.py").write_text(text)
    return scripts


def _fill(url: str) -> None:
    database = Database(url)
    with database.write() as connection:
        for number, name in enumerate(("alice", "acme"), 1):
            row = {"id": number, "name": name, "name_key": name, "kind": "user", "created_at": 1}
            connection.execute(accounts.insert(), row)
        both = {"org_id": 2, "user_id": 1, "role": "admin", "created_at": 1}
        connection.execute(memberships.insert(), both)
        token = {"account_id": 1, "sha256": "0" * 64, "label": "x", "scope": "read"}
        connection.execute(tokens.insert(), {**token, "created_at": 1})
    database.close()


def test_the_next_migration_keeps_what_refers_to_a_table_made_anew(tmp_path: Path) -> None:
    # SQLite changes a table by making it anew and dropping the old one: with references looked
    # after, that would delete all that refers to it.
    url = _url(tmp_path)
    migrate.upgrade(url)
    _fill(url)
    assert migrate.upgrade(url, _scripts(tmp_path)) == "9999"
    with sqlite3.connect(tmp_path / "hub.db") as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(accounts)")]
        assert "shoe_size" in columns
        for table, count in (("accounts", 2), ("memberships", 1), ("tokens", 1)):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (count,)
    assert (tmp_path / "hub.db.before-9999").exists()


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    url = _url(tmp_path)
    first = migrate.upgrade(url)
    _fill(url)
    scripts = _scripts(tmp_path, 'op.execute("INSERT INTO nowhere VALUES (1)")')
    with pytest.raises(UsageError, match="nowhere"):
        migrate.upgrade(url, scripts)
    with sqlite3.connect(tmp_path / "hub.db") as connection:
        assert connection.execute("SELECT * FROM alembic_version").fetchall() == [(first,)]
        columns = [row[1] for row in connection.execute("PRAGMA table_info(accounts)")]
        assert "shoe_size" not in columns
        assert connection.execute("SELECT count(*) FROM tokens").fetchone() == (1,)


def test_a_database_of_a_newer_version_is_refused_untouched(tmp_path: Path) -> None:
    url = _url(tmp_path)
    migrate.upgrade(url)
    migrate.upgrade(url, _scripts(tmp_path))
    before = (tmp_path / "hub.db").read_bytes()
    with pytest.raises(UsageError, match=r"newer LLMOS.*9999"):
        migrate.upgrade(url)
    assert (tmp_path / "hub.db").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "why"), [(b"no database" * 100, "not a database"), (None, "no hub's")]
)
def test_a_file_that_is_no_hubs_database_is_refused(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    if content is not None:
        (tmp_path / "hub.db").write_bytes(content)
    else:
        with sqlite3.connect(tmp_path / "hub.db") as connection:
            connection.execute("CREATE TABLE accounts (id INTEGER)")
    with pytest.raises(UsageError, match=why):
        migrate.upgrade(_url(tmp_path))


def test_a_draft_is_the_next_number_and_empty_when_nothing_changed(tmp_path: Path) -> None:
    scripts = tmp_path / "migrations"
    shutil.copytree(migrate.SCRIPTS, scripts)
    path = migrate.draft("Nothing: at all!", scripts)
    assert path.name == f"{int(migrate.newest()) + 1:04d}_nothing_at_all.py"
    assert path.read_text().rstrip().endswith("pass")
    assert migrate.upgrade(_url(tmp_path), scripts) == path.name[:4]
