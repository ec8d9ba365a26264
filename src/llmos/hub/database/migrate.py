"""The database's tables, brought to what this version of LLMOS needs.

Each change of tables.py is one file in migrations/versions, applied in order; the database knows
how far it is. To write the next one: `python -m llmos.hub.database.migrate "what changes"`.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect
from sqlalchemy.exc import SQLAlchemyError

from llmos.errors import UsageError
from llmos.hub.database.connection import Database, reachable
from llmos.hub.database.tables import metadata

SCRIPTS = Path(__file__).parent / "migrations"
WIDTH = 160  # of lines in a revision, which nobody edits
LOCK = 7104  # PostgreSQL's advisory lock: of two hubs that start at once, one migrates
REVISION = '''"""{message}"""

# fmt: off
# ruff: noqa: E501

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = {revision!r}
down_revision: str | None = {down!r}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    {body}
'''


def config_for(connection: Connection | None, scripts: Path = SCRIPTS) -> Config:
    """Alembic's configuration, without a file."""
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def upgrade(url: str, scripts: Path = SCRIPTS, *, to: str = "head") -> str:
    """Bring the database to the newest revision (or `to`), in one transaction, and return it.

    An SQLite file of an older revision is copied to FILE.before-REVISION first. Raises
    `UsageError` when the database cannot be reached, or is of a newer LLMOS.
    """
    database = Database(url, threads=1, foreign_keys=False)
    try:
        with reachable(url):
            known = ScriptDirectory(str(scripts))
            wanted = newest(scripts) if to == "head" else to
            if wanted not in {one.revision for one in known.walk_revisions()}:
                raise UsageError(f"revision {wanted} of the tables is of a newer LLMOS")
            with database.read() as connection:
                there = _revision(connection, scripts)
            if there == wanted:
                return wanted
            if there and database.sqlite:
                database.copy_to(Path(f"{database.file}.before-{wanted}"))
            with database.write() as connection:
                if not database.sqlite:
                    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
                command.upgrade(config_for(connection, scripts), to)
                _check_references(connection)
            return wanted
    finally:
        database.close()


def stamp(connection: Connection) -> None:
    """Note that the database is of the newest revision (its tables were made from tables.py)."""
    MigrationContext.configure(connection).stamp(ScriptDirectory(str(SCRIPTS)), "head")


def newest(scripts: Path = SCRIPTS) -> str:
    """The newest revision that there is."""
    return str(ScriptDirectory(str(scripts)).get_current_head())


def _revision(connection: Connection, scripts: Path) -> str | None:
    """How far the database is; None: it has no tables yet. Raises `UsageError`."""
    revision = MigrationContext.configure(connection).get_current_revision()
    known = {one.revision for one in ScriptDirectory(str(scripts)).walk_revisions()}
    if revision is not None and revision not in known:
        raise UsageError(
            f"the database is of a newer LLMOS (revision {revision}): install that version, or "
            "restore a backup made with this one"
        )
    if revision is None and inspect(connection).has_table("accounts"):
        raise UsageError(
            "the database has tables, but not a hub's list of changes (alembic_version): it is no "
            "hub's database; name another"
        )
    return revision


def _check_references(connection: Connection) -> None:
    """SQLite does not look after references while tables are made anew: look now."""
    if connection.dialect.name == "sqlite":
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        if broken is not None:
            raise UsageError(f"a change of the tables would leave {broken[0]} without its rows")


def differences(connection: Connection) -> str:
    """What would still have to change for the database to be as tables.py says, as Python code."""
    options = {"compare_type": True, "render_as_batch": True, "target_metadata": metadata}
    context = MigrationContext.configure(connection, opts=options)
    made = produce_migrations(context, metadata)
    assert made.upgrade_ops is not None
    code = render_python_code(made.upgrade_ops, render_as_batch=True, migration_context=context)
    lines = [line for line in code.splitlines() if not line.strip().startswith("#")]
    return "\n".join(lines).strip()


def draft(message: str, scripts: Path = SCRIPTS) -> Path:
    """Write the next revision: what tables.py has and the newest revision has not."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/empty.db", foreign_keys=False)
        with database.write() as connection:
            command.upgrade(config_for(connection, scripts), "head")
            body = _filled(differences(connection))
        database.close()
    head = ScriptDirectory(str(scripts)).get_current_head()
    revision = f"{int(head or 0) + 1:04d}"
    words = re.sub(r"\W+", "_", message.lower()).strip("_")[:40]
    path = scripts / "versions" / f"{revision}_{words}.py"
    path.write_text(
        REVISION.format(message=message, revision=revision, down=head, body=body), "utf-8"
    )
    return path


def _filled(code: str) -> str:
    """The same code with several short columns on a line."""
    lines: list[str] = []
    for line in code.splitlines():
        joined = f"{lines[-1]} {line.strip()}" if lines else line
        column = line.strip().startswith("sa.Column(") and lines and "(" in lines[-1]
        if column and lines[-1].rstrip().endswith(",") and len(joined) <= WIDTH:
            lines[-1] = joined
        else:
            lines.append(line)
    return "\n".join(lines)


def current(connection: Connection) -> str:
    """The revision that the database is at; empty: it has no tables."""
    try:
        return MigrationContext.configure(connection).get_current_revision() or ""
    except SQLAlchemyError:
        return ""


if __name__ == "__main__":
    print(draft(sys.argv[1]))
