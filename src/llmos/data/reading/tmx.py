"""Translation memories (TMX 1.4b, LISA OSCAR 2005)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast
from xml.etree.ElementTree import Element, ParseError, XMLPullParser

from llmos.data.documents import Document
from llmos.data.reading.parallel import pair
from llmos.data.reading.parts import Part, Problem, UnreadableError
from llmos.data.reading.streams import LONGEST, TOO_LONG, blocks
from llmos.recipe import DataSection

NO_XML = "damaged XML: what stands before the damage was read"
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_FED = 1 << 14
_CODES = ("bpt", "ept", "it", "ph", "ut")
"""Elements whose content is another format's code, not text."""


def read_tmx(part: Part, data: DataSection, record: str) -> Iterator[Document | Problem]:
    """A document for each translation of a unit's text in the source language.

    expat refuses entities that expand without end, and ElementTree loads no external ones.
    """
    parser = cast("XMLPullParser[Element]", XMLPullParser(("start", "end")))
    body: Element | None = None
    header, number, unit, size = "", 0, 0, 0
    try:
        for piece in _pieces(blocks(part.path)):
            parser.feed(piece)
            size += len(piece)
            for event, element in cast("Iterator[tuple[str, Element]]", parser.read_events()):
                if event == "start":
                    if element.tag == "body":
                        body = element
                    elif element.tag == "header":
                        header = element.get("srclang", "")
                elif element.tag == "tu":
                    unit += 1
                    size = 0
                    for source, target, languages in _pairs(element, header):
                        number += 1
                        yield pair(part, f"unit {unit}", number, source, target, languages)
                    if body is not None:
                        body.clear()  # else all units would stay in memory
            if size > LONGEST:
                raise UnreadableError(TOO_LONG)
        parser.close()
    except ParseError as error:
        raise UnreadableError(NO_XML) from error


def _pieces(stream: Iterator[bytes]) -> Iterator[bytes]:
    """Small ones: the elements of each are in memory together."""
    for block in stream:
        for start in range(0, len(block), _FED):
            yield block[start : start + _FED]


def _pairs(unit: Element, header: str) -> Iterator[tuple[str, str, tuple[str, str]]]:
    variants: list[tuple[str, str]] = []
    for variant in unit.iter("tuv"):
        segment = variant.find("seg")
        if segment is not None:
            language = variant.get(_LANGUAGE, variant.get("lang", ""))
            variants.append((language, _text(segment).strip()))
    wanted = unit.get("srclang", header).lower()
    chosen = [index for index, (language, _) in enumerate(variants) if language.lower() == wanted]
    source = chosen[0] if chosen else 0
    for index, (language, text) in enumerate(variants):
        if index != source:
            yield variants[source][1], text, (variants[source][0], language)


def _text(element: Element) -> str:
    inner = "" if element.tag in _CODES else element.text or ""
    return inner + "".join(_text(child) + (child.tail or "") for child in element)
