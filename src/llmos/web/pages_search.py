"""Lists and searches: models, data sets, runs, members."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, or_, select
from starlette.responses import Response

from llmos.hub.accounts.rights import visible
from llmos.hub.api.asking import Ask
from llmos.hub.api.routing import Need, Route
from llmos.hub.database.tables import accounts, repos
from llmos.hub.repos.making import SHARING
from llmos.provenance.obligations import HUB_LICENCES
from llmos.web import listing
from llmos.web.i18n import names
from llmos.web.rendering import page, viewer_of

TASKS = (
    "text-generation", "text2text-generation", "translation", "summarization",
    "question-answering", "text-classification", "token-classification", "fill-mask",
    "sentence-similarity", "feature-extraction", "zero-shot-classification",
    "automatic-speech-recognition", "text-to-speech", "image-to-text", "image-classification",
)  # fmt: skip
KINDS = ("model", "dataset", "run", "space")


def models(ask: Ask) -> Response:
    """All models."""
    return _listed(ask, "model")


def datasets(ask: Ask) -> Response:
    """All data sets."""
    return _listed(ask, "dataset")


def runs(ask: Ask) -> Response:
    """All joint runs."""
    return _listed(ask, "run")


def spaces(ask: Ask) -> Response:
    """All spaces."""
    return _listed(ask, "space")


def search(ask: Ask) -> Response:
    """What was searched for, of one kind; how many there are of the others."""
    kind = ask.query("kind", "model")
    if kind == "member":
        return members(ask)
    return _listed(ask, kind if kind in KINDS else "model", searching=True)


def _listed(ask: Ask, kind: str, *, searching: bool = False) -> Response:
    filters = listing.Filters(
        kind=kind,
        words=ask.query("q")[:200],
        language=ask.query("language")[:40],
        license=ask.query("license")[:64],
        task=ask.query("task")[:80],
        sharing=ask.query("sharing") if ask.query("sharing") in SHARING else "",
        sort=ask.query("sort") if ask.query("sort") in listing.SORTS else "updated",
    )
    after = ask.query("after")
    with ask.hub.database.read() as connection:
        rows, more = listing.find(connection, ask.caller, filters, after=after)
        found: Any = [listing.item_of(row) for row in rows]
        if kind == "run":
            found = listing.run_items(connection, rows)
        counts = _counts(connection, ask, filters.words) if searching and filters.words else {}
    viewer = viewer_of(ask.hub, ask.request, ask.caller)
    known = names()["languages"]
    spoken = sorted(((code, viewer.t.language_name(code)) for code in known), key=lambda x: x[1])
    return page(
        ask,
        "search.html",
        searching=searching,
        filters=filters,
        items=found,
        counts=counts,
        forward=viewer.address(after=more) if more else "",
        back=viewer.address(after=None) if after else "",
        language_choices=spoken,
        licence_pairs=[(name, name) for name in sorted(HUB_LICENCES)],
        named_tasks=[(name, viewer.t(f"task.{name}")) for name in TASKS],
        sort_pairs=[(name, viewer.t(f"sort.{name}")) for name in listing.SORTS],
        sharing_pairs=[(name, viewer.t(f"sharing.{name}")) for name in SHARING],
    )


def _counts(connection: Connection, ask: Ask, words: str) -> dict[str, int]:
    """How many of each kind have the words in their name."""
    where = [visible(ask.caller, repos)]
    where += [repos.c.name_key.contains(w, autoescape=True) for w in words.lower().split()[:8]]
    rows = connection.execute(
        select(repos.c.kind, func.count()).where(*where).group_by(repos.c.kind)
    )
    found = {kind: count for kind, count in rows}
    number = select(func.count()).select_from(accounts).where(*_members(words, "", ""))
    return {**found, "member": connection.execute(number).scalar_one()}


def members(ask: Ask) -> Response:
    """Organisations and people, with what they have shared."""
    words, country, after = ask.query("q")[:200], ask.query("country")[:2], ask.query("after")
    kind = ask.query("kind")
    kind = "" if words else kind if kind in ("user", "org") else "org"
    where = _members(words, country.upper(), kind)
    counted = (
        select(repos.c.owner_id, func.count().label("number"))
        .where(visible(ask.caller, repos))
        .group_by(repos.c.owner_id)
        .subquery()
    )
    query = (
        select(accounts, func.coalesce(counted.c.number, 0).label("number"))
        .outerjoin(counted, counted.c.owner_id == accounts.c.id)
        .where(*where, accounts.c.name_key > after.lower())
        .order_by(accounts.c.name_key)
        .limit(listing.PAGE + 1)
    )
    with ask.hub.database.read() as connection:
        rows = connection.execute(query).all()
        places = listing.countries(connection)
    viewer = viewer_of(ask.hub, ask.request, ask.caller)
    more = len(rows) > listing.PAGE
    rows = rows[: listing.PAGE]
    return page(
        ask,
        "members.html",
        members=rows,
        words=words,
        country=country.upper(),
        kind=kind,
        country_pairs=sorted(
            ((code, viewer.t.country_name(code)) for code, _ in places), key=lambda pair: pair[1]
        ),
        forward=viewer.address(after=rows[-1].name_key) if more else "",
        back=viewer.address(after=None) if after else "",
    )


def _members(words: str, country: str, kind: str) -> list[Any]:
    where: list[Any] = [accounts.c.disabled_at.is_(None)]
    for word in words.lower().split()[:8]:
        named = accounts.c.name_key.contains(word, autoescape=True)
        full = func.lower(accounts.c.full_name).contains(word, autoescape=True)
        where.append(or_(named, full))
    if country:
        where.append(accounts.c.country == country)
    if kind:
        where.append(accounts.c.kind == kind)
    return where


ROUTES = [
    Route("GET", "/models", Need.PUBLIC, models, page=True),
    Route("GET", "/datasets", Need.PUBLIC, datasets, page=True),
    Route("GET", "/runs", Need.PUBLIC, runs, page=True),
    Route("GET", "/spaces", Need.PUBLIC, spaces, page=True),
    Route("GET", "/members", Need.PUBLIC, members, page=True),
    Route("GET", "/search", Need.PUBLIC, search, page=True),
]
