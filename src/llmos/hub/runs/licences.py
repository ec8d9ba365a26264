"""A model's licence held against those of what it was made from: data sets, bases, members' text.

The rules are those of `provenance.obligations`: a help, not legal advice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from llmos.hub.accounts.rights import NOBODY, Caller
from llmos.hub.database.tables import repos, run_members
from llmos.hub.repos.indexing import many
from llmos.hub.runs.lineage import Node, lineage
from llmos.provenance.licences import NONE, UNRECOGNISED, all_licences, normalise
from llmos.provenance.obligations import Obligations, obligations

UNKNOWN = "unknown"
NOT_HERE = "it is not on this hub, so its licence is not known here"
NOT_STATED = "no licence is stated"
NOT_UNDERSTOOD = "what this licence asks for is not known here"
_HUB_WORDS = {"other": "", "unknown": ""}


@dataclass(frozen=True, slots=True)
class SourceLicence:
    """One thing that a model was made from. `licence`: an SPDX expression, "" where unknown;
    `note`: why nothing can be said; `conflicts`: what does not fit, in words."""

    kind: str  # dataset | model | member
    name: str
    licence: str
    obligations: tuple[str, ...]
    conflicts: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class LicenceReport:
    """What a model's licence and those of its sources ask for, and where they clash."""

    licence: str
    obligations: tuple[str, ...]
    sources: tuple[SourceLicence, ...]
    note: str = ""

    @property
    def conflicts(self) -> tuple[str, ...]:
        """All conflicts, in words."""
        return tuple(conflict for source in self.sources for conflict in source.conflicts)

    @property
    def verdict(self) -> str:
        """conflict | unknown (something could not be judged) | compatible."""
        if self.conflicts:
            return "conflict"
        unclear = self.note or any(source.note for source in self.sources)
        return UNKNOWN if unclear else "compatible"


def licence_report(
    connection: Connection, repo: Row[Any], caller: Caller = NOBODY
) -> LicenceReport:
    """The report on a model, from what the hub knows of its lineage, as far as `caller` sees it."""
    own = stated_licence(repo)
    asked = obligations(own) if own else None
    found: list[SourceLicence] = []
    line = lineage(connection, caller, repo)
    made_from = _above(line.root, {(e.target, e.source) for e in line.edges})
    for node in line.nodes:
        if node.key not in made_from or node.kind == "space":
            continue
        row = _row(connection, node) if node.here else None
        if node.kind == "run":
            if row is not None:
                found += _members(connection, row, own, asked)
        elif row is None:
            found.append(SourceLicence(node.kind, node.name, "", (), (), NOT_HERE))
        else:
            found.append(_judged(node.kind, node.name, stated_licence(row), own, asked))
    return LicenceReport(own, words(asked), tuple(found), _note(own, asked))


def stated_licence(repo: Row[Any]) -> str:
    """The SPDX expression of a repository's card; "" where none is stated that can be read.

    `license: other` with a `license_name` means that name; several are joined by AND."""
    stated = [_HUB_WORDS.get(name.lower(), name) for name in many(repo.card.get("license"))]
    if not any(stated):
        stated = many(repo.card.get("license_name"))
    named = [normalise(name) for name in stated if name]
    return "" if not named or {NONE, UNRECOGNISED} & set(named) else all_licences(named)


def words(asked: Obligations | None) -> tuple[str, ...]:
    """Obligations, in words."""
    if asked is None:
        return ()
    said = {
        "credit the authors": asked.attribution,
        "pass it on under the same licence": asked.share_alike,
        "not for commercial use": asked.non_commercial,
        "no changed forms may be passed on": asked.no_derivatives,
    }
    return tuple(text for text, holds in said.items() if holds)


def _note(licence: str, asked: Obligations | None) -> str:
    if not licence:
        return NOT_STATED
    return "" if asked is not None else NOT_UNDERSTOOD


def _judged(
    kind: str, name: str, licence: str, own: str, own_asks: Obligations | None
) -> SourceLicence:
    asks = obligations(licence) if licence else None
    clashes = tuple(_conflicts(f"{kind} {name}", licence, asks, own, own_asks))
    return SourceLicence(kind, name, licence, words(asks), clashes, _note(licence, asks))


def _conflicts(
    what: str, licence: str, asks: Obligations | None, own: str, own_asks: Obligations | None
) -> list[str]:
    if asks is None:
        return []
    found = []
    if asks.no_derivatives:
        found.append(f"{what} is under {licence}, which lets nobody pass on changed forms")
    if own_asks is None:
        return found
    if asks.non_commercial and not own_asks.non_commercial:
        found.append(f"{what} is under {licence}, not for commercial use, but {own} allows that")
    if asks.share_alike and own != licence:
        found.append(
            f"{what} is under {licence}, which asks for the same licence, but the model has {own}"
        )
    if asks.attribution and not own_asks.attribution:
        found.append(f"{what} is under {licence}, which asks for credit, but {own} does not")
    return found


def _members(
    connection: Connection, run: Row[Any], own: str, asked: Obligations | None
) -> list[SourceLicence]:
    """The members' text of a run, by the data cards in its ledger."""
    rows = connection.execute(
        select(run_members.c.name, run_members.c.card)
        .where(run_members.c.repo_id == run.id)
        .order_by(run_members.c.name)
    ).all()
    judged = []
    for row in rows:
        stated = row.card.get("licence") if isinstance(row.card, dict) else ""
        licence = normalise(stated) if isinstance(stated, str) else NONE
        known = "" if licence in (NONE, UNRECOGNISED) else licence
        judged.append(_judged("member", f"{row.name} ({run.full_name})", known, own, asked))
    return judged


def _above(root: str, pairs: set[tuple[str, str]]) -> set[str]:
    """All that leads to `root`; `pairs` are (made, from)."""
    found, front = set[str](), {root}
    while front:
        front = {source for made, source in pairs if made in front} - found - {root}
        found |= front
    return found


def _row(connection: Connection, node: Node) -> Row[Any] | None:
    return connection.execute(
        select(repos).where(repos.c.kind == node.kind, repos.c.full_name == node.name)
    ).first()
