"""`llmos hub fsck`: everything that is kept, looked at again; each damage with the repository and
path it is in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, select, update

from llmos.hub.accounts import audit
from llmos.hub.database.tables import blobs, refs, repo_blobs, repos
from llmos.hub.git import versions
from llmos.hub.hub import Hub
from llmos.hub.repos.content import note_blobs, used_bytes
from llmos.hub.upkeep.backup_folder import take_blob
from llmos.hub.upkeep.checking_versions import broken_commits, broken_trees, places_of
from llmos.hub.upkeep.marking import batches, reach
from llmos.hub.upkeep.rechecking import damage, note_checked, note_damaged, set_aside
from llmos.hub.uploads import landing
from llmos.hub.uploads.xet import chunklists

HASHERS = 2


@dataclass(slots=True)
class Report:
    """What a check found."""

    damaged: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    repositories: int = 0
    blobs: int = 0
    bytes: int = 0

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damaged


def check(
    hub: Hub,
    *,
    rehash: bool = True,
    repair_from: Path | None = None,
    progress: Callable[[int], None] = lambda size: None,
) -> Report:
    """Check the audit log, all versions and all blobs, and repair what can be.

    Without `rehash` only sizes of blobs are compared. `repair_from` is the folder of a backup, from
    which damaged blobs are taken. `progress` is told of bytes read.
    """
    report = Report()
    with hub.database.snapshot() as connection:
        for number in audit.broken_entries(connection):
            report.damaged.append(f"audit log: entry {number} does not follow from the one before")
        report.damaged += broken_trees(connection)
        report.damaged += broken_commits(connection)
    _check_repositories(hub, report)
    _check_lists(hub, report)
    bad = _check_blobs(hub, report, rehash, repair_from, progress)
    if bad:
        _name_places(hub, report, bad)
    return report


def _check_repositories(hub: Hub, report: Report) -> None:
    with hub.database.read() as connection:
        ids = connection.scalars(select(repos.c.id).order_by(repos.c.id)).all()
    for repo_id in ids:
        with hub.database.snapshot() as connection:
            repo = connection.execute(select(repos).where(repos.c.id == repo_id)).first()
            wrong = _wrong_notes(hub, connection, repo, report) if repo else None
        if repo and wrong:
            _mend(hub, repo, wrong, report)
        report.repositories += 1


def _check_lists(hub: Hub, report: Report) -> None:
    with hub.database.snapshot() as connection:
        wrong = chunklists.wrong_lists(connection)
    for some in batches(wrong):
        with hub.database.write() as connection:
            for sha256 in some:
                chunklists.forget(connection, sha256)
                report.repaired.append(f"blob {sha256}: its chunks were noted wrong; not any more")


def _title(repo: Row[Any]) -> str:
    return f"{repo.kind} {repo.full_name}"


def _wrong_notes(
    hub: Hub, connection: Connection, repo: Row[Any], report: Report
) -> dict[str, Any] | None:
    """What is noted of a repository and does not fit its references; its lost parts are damage."""
    heads = {
        row.name: row.commit
        for row in connection.execute(select(refs).where(refs.c.repo_id == repo.id))
    }
    reached = reach(connection, repo.id, heads.values())
    report.damaged += [f"{_title(repo)}: {lost} is missing or damaged" for lost in reached.lost]
    held = {
        row.sha256
        for row in connection.execute(
            select(repo_blobs.c.sha256)
            .join(blobs, blobs.c.sha256 == repo_blobs.c.sha256)
            .where(repo_blobs.c.repo_id == repo.id, repo_blobs.c.committed)
        )
    }
    wrong: dict[str, Any] = {}
    if unnoted := {key: size for key, size in reached.blobs.items() if key not in held}:
        wrong["unnoted"] = unnoted
    head = heads.get(versions.MAIN)
    if head and repo.head != head:
        wrong["head"] = head
    if repo.used_bytes != used_bytes(connection, repo.id):
        wrong["used"] = True
    return wrong or None


def _mend(hub: Hub, repo: Row[Any], wrong: dict[str, Any], report: Report) -> None:
    with hub.database.write() as connection:
        values: dict[str, Any] = {}
        if unnoted := wrong.get("unnoted"):
            note_blobs(connection, repo.id, unnoted)
            report.repaired.append(f"{_title(repo)}: {len(unnoted)} files were not noted as its")
        if head := wrong.get("head"):
            now_there = select(refs.c.commit).where(
                refs.c.repo_id == repo.id, refs.c.name == versions.MAIN
            )
            values["head"] = connection.execute(now_there).scalar() or head
            report.repaired.append(f"{_title(repo)}: its head was not that of main")
        values["used_bytes"] = used_bytes(connection, repo.id)
        if values["used_bytes"] != repo.used_bytes:
            report.repaired.append(f"{_title(repo)}: its size was not that of its files")
        connection.execute(update(repos).where(repos.c.id == repo.id).values(**values))


def _check_blobs(
    hub: Hub,
    report: Report,
    rehash: bool,
    repair_from: Path | None,
    progress: Callable[[int], None],
) -> dict[str, str]:
    """Check all blobs and return those that stay damaged, with what is wrong."""

    def problem(row: Row[Any]) -> str:
        if not rehash:
            size = hub.blobs.size(row.sha256)
            return "" if size == row.size else "is missing or has another size"
        return damage(hub, row.sha256, row.size, progress) or ""

    bad: dict[str, str] = {}
    with ThreadPoolExecutor(HASHERS) as pool:
        for rows in _all_blobs(hub):
            good: list[str] = []
            healed: list[str] = []
            for row, wrong in zip(rows, pool.map(problem, rows), strict=True):
                report.blobs += 1
                report.bytes += row.size
                if wrong:
                    set_aside(hub, row.sha256)
                if wrong and repair_from and _taken(hub, repair_from, row.sha256):
                    report.repaired.append(f"blob {row.sha256} {wrong}: taken from the backup")
                    healed.append(row.sha256)
                elif wrong:
                    bad[row.sha256] = wrong
                elif row.state == "damaged":
                    report.repaired.append(f"blob {row.sha256}: good again")
                    healed.append(row.sha256)
                else:
                    good.append(row.sha256)
            damaged = {row.sha256: bad[row.sha256] for row in rows if row.sha256 in bad}
            _note(hub, good if rehash else [], healed, damaged)
    return bad


def _taken(hub: Hub, backup: Path, sha256: str) -> bool:
    return take_blob(hub.blobs, hub.settings.temporary, backup, sha256)


def _all_blobs(hub: Hub) -> Iterator[list[Row[Any]]]:
    with hub.database.read() as connection:
        names = connection.scalars(select(blobs.c.sha256).order_by(blobs.c.sha256)).all()
    for some in batches(names):
        with hub.database.read() as connection:
            rows = connection.execute(select(blobs).where(blobs.c.sha256.in_(some))).all()
        yield list(rows)


def _note(hub: Hub, good: list[str], healed: list[str], damaged: dict[str, str]) -> None:
    if not (good or healed or damaged):
        return
    looked_at = {sha256: _looked_at(hub, sha256) for sha256 in healed}
    with hub.database.write() as connection:
        note_checked(connection, [*good, *healed])
        for sha256, landed in looked_at.items():
            landing.record(connection, sha256, landed)  # good, or to be kept back as before
        for sha256, wrong in damaged.items():
            note_damaged(connection, sha256, wrong)


def _looked_at(hub: Hub, sha256: str) -> landing.Landed:
    with hub.staged() as staged:
        for piece in hub.blobs.read(sha256):
            staged.write(piece)
        staged.sync()
        with staged.path.open("rb") as file:
            return landing.inspect(file, staged.size)


def _name_places(hub: Hub, report: Report, bad: dict[str, str]) -> None:
    places: dict[str, list[str]] = {}
    with hub.database.snapshot() as connection:
        holding = select(repo_blobs.c.repo_id).where(repo_blobs.c.sha256.in_(bad)).distinct()
        for repo in connection.execute(select(repos).where(repos.c.id.in_(holding))):
            for sha256, place in places_of(connection, repo.id, set(bad)):
                places.setdefault(sha256, []).append(f"{_title(repo)}: {place}")
        for sha256, wrong in bad.items():
            where = places.get(sha256) or ["no version of a repository"]
            report.damaged += [f"{place}: blob {sha256} {wrong}" for place in where]
