"""What clients fetch over Xet: which xorbs make a file, and the bytes of a xorb
(https://huggingface.co/docs/xet/api). Only files that came by Xet leave that way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from llmos.hub.accounts.rights import Right
from llmos.hub.api import ranges
from llmos.hub.api.asking import Ask, answer
from llmos.hub.api.hf.xet import HASH, repo_of
from llmos.hub.api.routing import KINDS, Need, Route
from llmos.hub.errors import HubError
from llmos.hub.git.entries import Entry
from llmos.hub.repos.delivery import Delivery, deliver
from llmos.hub.uploads import lfs
from llmos.hub.uploads.existing import held_here
from llmos.hub.uploads.xet import serving
from llmos.hub.uploads.xet.chunklists import file_of
from llmos.hub.uploads.xet.serving import Term

WORDS = {kind: word for word, kind in KINDS.items()}
KIND = "application/octet-stream"


def xet_headers(ask: Ask, file: Delivery, commit: str) -> dict[str, str]:
    """The headers that tell a client that it may fetch a file over Xet ({}: it may not). Where
    clients fetch from the store itself, a detour over the hub would only cost time."""
    if not file.xet_hash or ask.hub.blobs.direct:
        return {}
    about = f"{WORDS[ask.repo.kind]}/{ask.repo.full_name}"
    route = f"{ask.base}/api/{about}/xet-read-token/{commit}"
    return {"X-Xet-Hash": file.xet_hash, "Link": f'<{route}>; rel="xet-auth"'}


def reconstruct_v1(ask: Ask) -> Response:
    """Which xorbs make a file or, with a Range, a part of it, and where to fetch them. A file that
    the token's repository does not hold is as unknown as one that is nowhere."""
    told, fetched = _reconstruction(ask)
    places = {
        term.hash: [{"range": _chunks(term), "url": url, "url_range": _bytes(term)}]
        for url, term in fetched
    }
    return answer({**told, "fetch_info": places})


def reconstruct_v2(ask: Ask) -> Response:
    """The same in the words of version 2, for which newer clients ask first."""
    told, fetched = _reconstruction(ask)
    places = {
        term.hash: [{"url": url, "ranges": [{"chunks": _chunks(term), "bytes": _bytes(term)}]}]
        for url, term in fetched
    }
    return answer({**told, "xorbs": places})


def _reconstruction(ask: Ask) -> tuple[dict[str, Any], list[tuple[str, Term]]]:
    """What both versions tell, and the address of each xorb with what is to be fetched of it."""
    repo, name = repo_of(ask, "read"), ask.value("hash")
    with ask.hub.database.read() as connection:
        file = file_of(connection, repo.id, name) if HASH.fullmatch(name) else None
        if file is None:
            raise HubError(404, "The repository has no such file")
        sha256, size = file
        spans = ranges.asked_spans(ask.request, size, name)
        start, stop = (spans[0].start, spans[-1].stop) if spans else (0, size)
        terms, into = serving.terms_of(connection, sha256, start, stop)
    if not terms:  # its list was forgotten this moment
        raise HubError(404, "The repository has no such file")
    told = {
        "offset_into_first_range": into,
        "terms": [
            {"hash": term.hash, "unpacked_length": term.size, "range": _chunks(term)}
            for term in terms
        ],
    }
    signature = quote(lfs.sign(ask.hub, "xorb", repo, sha256, size=size))
    base = f"{ask.base}/_xet/{repo.id}/{sha256}"
    return told, [(f"{base}/{term.start}?signature={signature}", term) for term in _united(terms)]


def _united(terms: list[Term]) -> list[Term]:
    """What to fetch of each xorb, which a file may have in several places."""
    found: dict[str, Term] = {}
    for term in terms:
        other = found.get(term.hash, term)
        found[term.hash] = replace(
            other,
            first=min(other.first, term.first),
            last=max(other.last, term.last),
            begin=min(other.begin, term.begin),
            end=max(other.end, term.end),
        )
    return list(found.values())


def get_xorb(ask: Ask) -> Response:
    """The bytes of a xorb, or a range of them."""
    sha256, number = ask.value("oid"), ask.value("number")
    repo = lfs.signed_repo(ask.hub, ask.query("signature"), "xorb", ask.value("id"), sha256)
    with ask.hub.database.read() as connection:
        size = held_here(connection, repo.id, [sha256]).get(sha256)
        if size is None or not (number.isascii() and number.isdecimal() and len(number) < 16):
            raise HubError(404, "The repository has no such file")
        entry = Entry("lfs", sha256, size, sha256)
        file = deliver(ask.hub, connection, "", entry, Right.CONTENT)
        xorb = serving.chunks_of(connection, sha256, int(number))

    def read(begin: int, end: int) -> Iterator[bytes]:
        return serving.packed(file, xorb, begin, end)

    headers = {"ETag": f'"{sha256}-{number}"', "Accept-Ranges": "bytes"}
    return ranges.respond(ask.request, xorb.packed_size, headers, KIND, read)


def _chunks(term: Term) -> dict[str, int]:
    return {"start": term.first, "end": term.last}


def _bytes(term: Term) -> dict[str, int]:
    return {"start": term.begin, "end": term.end - 1}


ROUTES = [
    Route("GET", "/xet/{store}/v1/reconstructions/{hash}", Need.SIGNED, reconstruct_v1),
    Route("GET", "/xet/{store}/v2/reconstructions/{hash}", Need.SIGNED, reconstruct_v2),
    Route("GET", "/_xet/{id}/{oid}/{number}", Need.SIGNED, get_xorb),
]
