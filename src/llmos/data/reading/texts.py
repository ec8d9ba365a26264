"""Files that are one document: text of any kind, web pages. A text too long is several."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from llmos.data.documents import Document
from llmos.data.reading.encodings import REPLACED, WIDE, decode, encoding_of
from llmos.data.reading.html import read_page
from llmos.data.reading.parts import Part, Problem, UnreadableError
from llmos.data.reading.splitting import TOO_WIDE, pieces
from llmos.data.reading.streams import LONGEST, TOO_LONG, blocks, compressed, whole
from llmos.recipe import DataSection

NO_TEXT = "no text"
OPTED_OUT = "opted out"


def read_text(part: Part, data: DataSection, record: str) -> Iterator[Document | Problem]:
    """A text; a compressed one that turns out to be too long for one document: its pieces."""
    stream = blocks(part.path, part.start, part.end)
    held: list[bytes] = []
    size = 0
    for block in stream:
        held.append(block)
        size += len(block)
        if size > LONGEST:
            yield from _pieces(part, chain(held, stream))
            return
    yield from document(part, part.name, b"".join(held))


def read_pieces(part: Part, data: DataSection, record: str) -> Iterator[Document | Problem]:
    """Some pieces of a long text (see `splitting.pieces`)."""
    yield from _pieces(part, blocks(part.path, part.start, part.end))


def _pieces(part: Part, stream: Iterator[bytes]) -> Iterator[Document | Problem]:
    if compressed(part.path) and encoding_of(next(blocks(part.path))) in WIDE:
        raise UnreadableError(TOO_WIDE)
    for number, piece in pieces(stream, part.start):
        if piece is None:
            yield Problem(f"{part.path} piece {number}", TOO_LONG)
            continue
        try:
            yield from document(part, f"{part.name}:{number}", piece)
        except UnreadableError as error:
            yield Problem(f"{part.path} piece {number}", str(error))


def document(
    part: Part, name: str, data: bytes, charset: str = "", url: str = ""
) -> Iterator[Document | Problem]:
    """What these bytes of text are. Raises `UnreadableError` where they are none."""
    text, replaced = decode(data, charset)
    yield from _documents(part, name, text, replaced, url)


def read_html(part: Part, data: DataSection, record: str) -> Iterator[Document | Problem]:
    """A web page."""
    yield from page(part, part.name, whole(blocks(part.path)))


def page(
    part: Part,
    name: str,
    data: bytes,
    *,
    url: str = "",
    charset: str = "",
    robots: tuple[str, ...] = (),
    tdm: str = "",
) -> Iterator[Document | Problem]:
    """What a web page is (see `html.read_page`); a problem where it asks not to be used."""
    found = read_page(data, charset, robots, tdm)
    if found.opted_out:
        yield Problem(url or part.path, f"{OPTED_OUT}: {found.opted_out}")
    else:
        yield from _documents(part, name, found.text, found.replaced, url)


def _documents(
    part: Part, name: str, text: str, replaced: bool, url: str
) -> Iterator[Document | Problem]:
    place = url or part.path
    if replaced:
        yield Problem(place, REPLACED)
    if text.strip():
        yield Document(name, text, url=url)
    else:
        yield Problem(place, NO_TEXT)
